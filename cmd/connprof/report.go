package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/export"
	"github.com/connprof/connprof/internal/report/html"
	"github.com/connprof/connprof/internal/report/text"
)

// formats is the table of what a recording can be rendered as, each with the flag that asks for it.
var formats = []struct {
	flag, help string
	report.Format
}{
	{"html", "a page with the flame graph, the account and the timeline", html.Format{}},
	{"pprof", "a profile for go tool pprof, with labels role, type and cache", export.Pprof{}},
	{"folded", "folded stacks, for flamegraph.pl and its like", export.Folded{}},
	{"speedscope", "a profile for speedscope.app", export.Speedscope{}},
	{"csv", "one row an object type", export.CSV{}},
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
func renderAll(outputs map[string]*string, render func(report.Format, io.Writer) error) (any bool, err error) {
	for _, f := range formats {
		path := *outputs[f.flag]
		if path == "" {
			continue
		}
		any = true
		if err := writeFile(path, func(w io.Writer) error { return render(f, w) }); err != nil {
			return any, err
		}
	}
	return any, nil
}

func newReport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report FILE",
		Short: "Render a recording: as text, or as HTML, pprof, folded stacks, speedscope or CSV",
		Long: `Render a recording that connprof run wrote, gzipped or not; - is standard input. It needs no root and works on any machine.
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
		shown := report.New(rec)
		any, err := renderAll(outputs, func(f report.Format, w io.Writer) error { return f.Write(w, shown) })
		if err != nil || any {
			return err
		}
		terminal := text.Format{Color: colored(cmd), AllCaches: *allCaches}
		return writeFile("-", func(w io.Writer) error { return terminal.Write(w, shown) })
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
		shown := report.Compare(older, newer)
		any, err := renderAll(outputs, func(f report.Format, w io.Writer) error { return f.WriteDiff(w, shown) })
		if err != nil || any {
			return err
		}
		terminal := text.Format{Color: colored(cmd)}
		return writeFile("-", func(w io.Writer) error { return terminal.WriteDiff(w, shown) })
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
