// Command connprof measures what a TCP connection costs the kernel. This package is flags, files and exit codes; the
// work is done in the packages that it imports.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/guard"
	_ "github.com/connprof/connprof/internal/lastwords" // speaks for a runtime that cannot start
	"github.com/connprof/connprof/load"
)

// Exit codes, as CONTRACT has them.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitBudget = 3
)

func main() {
	load.WorkerMain()
	guard.Main()
	os.Exit(execute(os.Args[1:]))
}

// usageError is a command line that makes no sense.
type usageError struct{ error }

// budgetError is a budget that was exceeded in an otherwise good run.
type budgetError struct{ error }

func execute(args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(os.Stderr, "connprof: "+oneLine(err.Error()))
	var usage usageError
	var budget budgetError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &budget):
		return exitBudget
	}
	return exitFailed
}

// mostMessage is how long an error may be: the name of a file has up to 4,096 bytes.
const mostMessage = 5000

// oneLine keeps an error on the last line of stderr, where scripts look for it. Names that it has may be anybody's.
func oneLine(text string) string {
	line := strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	return format.Shorten(format.Clean(line), mostMessage)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "connprof",
		Short: "What does one TCP connection cost the kernel, and where does the memory go?",
		Long: `connprof opens TCP connections in a network namespace of its own, watches the kernel with eBPF while it does,
and accounts for the slab memory that every connection costs, object by object and call path by call path. On a running host, connprof snapshot shows whose connections hold how much kernel memory.`,
		Example: `  sudo connprof run --ips 20 --conns 20k --html report.html
  sudo connprof snapshot
  connprof report connprof.json --pprof conn.pb.gz && go tool pprof -top conn.pb.gz
  connprof diff old.json new.json`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%s; see %s --help", plainFlagError(err), cmd.CommandPath())}
	})
	root.PersistentFlags().Bool("no-color", false, "no colours (also: NO_COLOR in the environment)")
	root.AddCommand(newRun(), newSnapshot(), newRecord(), newTop(), newExport(), newReport(), newDiff(), newCheck(), newServe(), newNetup(), newNetdown(), newVersion())
	addCompletion(root)
	addMore(root)
	checkArgs(root)
	return root
}

// plainFlagError is a flag's error without the names of Go's functions.
func plainFlagError(err error) string {
	var number *strconv.NumError
	if !errors.As(err, &number) {
		return err.Error()
	}
	want := "want a whole number"
	switch {
	case errors.Is(err, strconv.ErrRange):
		want = "too large a number"
	case number.Func == "ParseBool":
		want = "want true or false"
	}
	return strings.Replace(err.Error(), number.Error(), want, 1)
}

// addCompletion adds cobra's completion command now, so that its arguments are checked like those of the others.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			// A command that does nothing has its arguments not checked.
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// checkArgs makes every command report wrong arguments as usage errors.
func checkArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		checkArgs(sub)
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "connprof", version())
			return err
		}}
}

// version is the module's, with the commit where the build recorded one.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "0.1.0-devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && !strings.Contains(v, s.Value[:min(12, len(s.Value))]) {
			v += "+" + s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}
