//go:build !man

package main

import "github.com/spf13/cobra"

// addMore adds nothing: see man.go.
func addMore(*cobra.Command) {}
