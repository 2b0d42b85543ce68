package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
)

// formats is the table of what a recording can be rendered as, each with the flag that asks for it.
var formats = []struct {
	flag, help string
	render     func(io.Writer, *recording.Recording) error
	diff       func(w io.Writer, older, newer *recording.Recording) error
}{
	{"html", "a page with the flame graph, the account and the timeline", report.HTML, report.DiffHTML},
	{"pprof", "a profile for go tool pprof, with labels role, type and cache", report.Pprof, report.DiffPprof},
	{"folded", "folded stacks, for flamegraph.pl and its like", report.Folded, report.DiffFolded},
	{"speedscope", "a profile for speedscope.app", report.Speedscope, report.DiffSpeedscope},
	{"csv", "one row an object type", report.CSV, report.DiffCSV},
}

// addFormatFlags gives a command a flag for each format and returns their values.
func addFormatFlags(cmd *cobra.Command) map[string]*string {
	outputs := map[string]*string{}
	for _, f := range formats {
		outputs[f.flag] = cmd.Flags().String(f.flag, "", "write `OUT`: "+f.help+" (- is standard output)")
	}
	return outputs
}

// renderAll writes every format that was asked for and tells whether any was.
func renderAll(outputs map[string]*string, render func(format int, w io.Writer) error) (any bool, err error) {
	for i, f := range formats {
		path := *outputs[f.flag]
		if path == "" {
			continue
		}
		any = true
		if err := writeFile(path, func(w io.Writer) error { return render(i, w) }); err != nil {
			return any, err
		}
	}
	return any, nil
}

func newReport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report FILE",
		Short: "Render a recording: as text, or as HTML, pprof, folded stacks, speedscope or CSV",
		Long: `Render a recording that connprof run wrote, gzipped or not. It needs no root and works on any machine.
Without a format flag the account is printed as text.`,
		Example: `  connprof report connprof.json
  connprof report connprof.json --html report.html
  connprof report connprof.json --folded - | flamegraph.pl > graph.svg`,
		Args: cobra.ExactArgs(1),
	}
	outputs := addFormatFlags(cmd)
	allCaches := cmd.Flags().Bool("all-caches", false, "in text: list every slab cache of the reconciliation")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		rec, err := recording.ReadFile(args[0])
		if err != nil {
			return err
		}
		any, err := renderAll(outputs, func(i int, w io.Writer) error { return formats[i].render(w, rec) })
		if err != nil || any {
			return err
		}
		return writeFile("-", func(w io.Writer) error {
			return report.Text(w, rec, report.TextOptions{Color: colored(cmd), AllCaches: *allCaches})
		})
	}
	return cmd
}

func newDiff() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Compare two recordings, object type by object type",
		Args:  cobra.ExactArgs(2),
	}
	outputs := addFormatFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		older, err := recording.ReadFile(args[0])
		if err != nil {
			return err
		}
		newer, err := recording.ReadFile(args[1])
		if err != nil {
			return err
		}
		any, err := renderAll(outputs, func(i int, w io.Writer) error { return formats[i].diff(w, older, newer) })
		if err != nil || any {
			return err
		}
		return writeFile("-", func(w io.Writer) error {
			return report.Diff(w, older, newer, report.TextOptions{Color: colored(cmd)})
		})
	}
	return cmd
}

// colored tells whether standard output wants colours.
func colored(cmd *cobra.Command) bool {
	off, err := cmd.Flags().GetBool("no-color")
	if err != nil {
		panic(fmt.Sprintf("no-color is not a flag of %s", cmd.Name()))
	}
	return !off && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(os.Stdout.Fd()))
}
