package experiment

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/connprof/connprof/load"
)

func TestWhatCannotBeClosedIsRefused(t *testing.T) {
	asked := Defaults()
	asked.AfterClose = StayMoments
	for says, change := range map[string]func(*Options){
		"each later than the one before": func(o *Options) { o.AfterClose = []time.Duration{time.Second, time.Second} },
		"-1s":                            func(o *Options) { o.AfterClose = []time.Duration{-time.Second} },
		"at most 8 times":                func(o *Options) { o.AfterClose = slices.Repeat(StayMoments, 3) },
		"leave out --no-profile":         func(o *Options) { o.NoProfile = true },
		"--threads-per-connection":       func(o *Options) { o.ThreadPerConnection = true },
		"scenario time-wait":             func(o *Options) { o.Scenario = "time-wait" },
		"scenario syn-recv":              func(o *Options) { o.Scenario = "syn-recv" },
		"scenario listen":                func(o *Options) { o.Scenario = "listen" },
	} {
		o := asked
		change(&o)
		var invalid *InvalidError
		if err := o.Validate(); !errors.As(err, &invalid) || invalid.Field != "after-close" || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want an error of --after-close that says %q", err, says)
		}
	}
	for _, s := range load.Scenarios {
		if !s.ClosesAll() {
			continue
		}
		o := asked
		if o.Scenario = s.Name; o.Validate() != nil {
			t.Errorf("%s: %v", s.Name, o.Validate())
		}
	}
	if err := asked.Validate(); err != nil {
		t.Error(err)
	}
}

func TestCyclesThatMakeNoSenseAreRefused(t *testing.T) {
	asked := Defaults()
	asked.Cycles = 3
	for says, change := range map[string]func(*Options){
		"the first fills":          func(o *Options) { o.Cycles = 1 },
		"2 to 1000":                func(o *Options) { o.Cycles = 1001 },
		"leave out --after-close":  func(o *Options) { o.AfterClose = StayMoments },
		"leave out --no-profile":   func(o *Options) { o.NoProfile = true },
		"--threads-per-connection": func(o *Options) { o.ThreadPerConnection = true },
		"scenario orphaned":        func(o *Options) { o.Scenario = "orphaned" },
		"scenario listen":          func(o *Options) { o.Scenario = "listen" },
	} {
		o := asked
		change(&o)
		var invalid *InvalidError
		if err := o.Validate(); !errors.As(err, &invalid) || invalid.Field != "cycles" || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want an error of --cycles that says %q", err, says)
		}
	}
	if err := asked.Validate(); err != nil {
		t.Error(err)
	}
}
