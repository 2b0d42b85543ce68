package main

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/connprof/connprof/internal/experiment"
)

// addAfterCloseFlag is the flag that closes the connections and looks at what stays.
func addAfterCloseFlag(flags *pflag.FlagSet, moments *[]time.Duration) {
	var usual []string
	for _, at := range experiment.StayMoments {
		usual = append(usual, at.String())
	}
	const name = "after-close"
	flags.DurationSliceVar(moments, name, nil, "close all once measured and tell what stays in slab memory, at these `TIMES` after the last close")
	flag := flags.Lookup(name)
	flag.NoOptDefVal, flag.DefValue = strings.Join(usual, ","), ""
}
