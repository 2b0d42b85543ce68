//go:build man

package main

import (
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// addMore adds a command that the packages are made with. SOURCE_DATE_EPOCH is the pages' date.
func addMore(root *cobra.Command) {
	root.AddCommand(&cobra.Command{Use: "man DIR", Hidden: true, Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
		if err != nil {
			return errors.New("man: SOURCE_DATE_EPOCH is no time in seconds")
		}
		date := time.Unix(seconds, 0).UTC()
		root.DisableAutoGenTag = true
		return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "connprof", Manual: "connprof", Date: &date}, args[0])
	}})
}
