package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/connprof/connprof/internal/naming"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/export"
	"github.com/connprof/connprof/internal/report/html"
	"github.com/connprof/connprof/internal/report/text"
	"github.com/connprof/connprof/internal/symbolise"
)

// formats is the table of what a recording can be rendered as, each with the flag that asks for it.
var formats = []struct {
	flag, help string
	report.Format
}{
	{"html", "a page with the flame graph, the account and the timeline", html.Format{}},
	{"pprof", "a profile for go tool pprof; of a record one of the code that opened connections", export.Pprof{}},
	{"folded", "folded stacks, for flamegraph.pl and its like", export.Folded{}},
	{"speedscope", "a profile for speedscope.app", export.Speedscope{}},
	{"csv", "one row an object type; of a snapshot a group, of a record an opener", export.CSV{}},
}

// addFormatFlags gives a command a flag for each format and returns their values.
func addFormatFlags(cmd *cobra.Command) map[string]*string {
	outputs := map[string]*string{}
	for _, f := range formats {
		outputs[f.flag] = cmd.Flags().String(f.flag, "", "write `OUT`: "+f.help+" (- is standard output)")
	}
	return outputs
}

// openFormats opens what each format that was asked for is written to. The recordings are not written over.
func openFormats(flags map[string]*string, recordings []string) (*outputs, error) {
	var names []named
	for _, f := range formats {
		names = append(names, named{"--" + f.flag, *flags[f.flag]})
	}
	return openOutputs(names, recordings...)
}

// renderAll writes every format that was asked for, and the text where none was.
func renderAll(to *outputs, terminal report.Format, render func(report.Format, io.Writer) error) error {
	if len(to.list) == 0 {
		return writeFile(stdoutName, func(w io.Writer) error { return render(terminal, w) })
	}
	var errs []error
	for _, f := range formats {
		if o := to.by["--"+f.flag]; o != nil {
			errs = append(errs, o.write(func(w io.Writer) error { return render(f, w) }))
		}
	}
	return errors.Join(errs...)
}

func newReport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report FILE",
		Short: "Render a recording: as text, or as HTML, pprof, folded stacks, speedscope or CSV",
		Long: `Render a recording that connprof run, snapshot or record wrote, gzipped or not; - is standard input. It needs no root and works
on any machine. Without a format flag the account is printed as text. --by, --sort and --rows choose how the owners of a snapshot or
a record are shown.`,
		Example: `  connprof report connprof.json
  connprof report snapshot.json --by container,state -n 50
  connprof report connprof.json --html report.html
  connprof report connprof.json --folded - | flamegraph.pl > graph.svg`,
		Args: cobra.ExactArgs(1),
	}
	outputs := addFormatFlags(cmd)
	symbols := cmd.Flags().String("symbols", "", "of a record: name code that has no names by the ELF files in `DIR` with the same build IDs")
	allCaches := cmd.Flags().Bool("all-caches", false, "in text: list every slab cache of the reconciliation")
	var view viewFlags
	view.add(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		options, err := view.options()
		if err != nil {
			return usageError{fmt.Errorf("%s: %w", cmd.Name(), err)}
		}
		to, err := openFormats(outputs, args)
		if err != nil {
			return err
		}
		defer to.close()
		recordings, err := view.read(cmd, args)
		if err != nil {
			return err
		}
		if err := nameCode(recordings[0], *symbols); err != nil {
			return err
		}
		shown, err := report.NewWith(recordings[0], options)
		if err != nil {
			return err
		}
		return renderAll(to, text.Format{Color: colored(cmd), AllCaches: *allCaches},
			func(f report.Format, w io.Writer) error { return f.Write(w, shown) })
	}
	return cmd
}

// nameCode names what code had no names when a recording was made, from the files below a directory.
func nameCode(r *recording.Recording, dir string) error {
	if dir == "" {
		return nil
	}
	library, err := symbolise.OpenLibrary(dir)
	if err != nil {
		return fmt.Errorf("report: read symbols: %w", err)
	}
	defer library.Close()
	named, left := naming.Fill(r, library)
	fmt.Fprintf(os.Stderr, "%d places in code have got names, %d have none\n", named, left)
	return nil
}

func newDiff() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Compare two recordings, object type by object type; of two snapshots, what has grown",
		Long: `Compare two recordings. Of two runs it shows what each object type costs in both; of two snapshots whose memory has grown, and which
objects; of two records which code paths have more open than before. --by, --sort and --rows choose how the owners are shown.`,
		Example: `  connprof diff old.json new.json
  connprof diff before.json after.json --by cgroup --sort unread`,
		Args: cobra.ExactArgs(2),
	}
	outputs := addFormatFlags(cmd)
	var view viewFlags
	view.add(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		options, err := view.options()
		if err != nil {
			return usageError{fmt.Errorf("%s: %w", cmd.Name(), err)}
		}
		to, err := openFormats(outputs, args)
		if err != nil {
			return err
		}
		defer to.close()
		recordings, err := view.read(cmd, args)
		if err != nil {
			return err
		}
		shown, err := report.CompareWith(recordings[0], recordings[1], options)
		if err != nil {
			return err
		}
		return renderAll(to, text.Format{Color: colored(cmd)},
			func(f report.Format, w io.Writer) error { return f.WriteDiff(w, shown) })
	}
	return cmd
}

// colored tells whether standard output wants colours.
func colored(cmd *cobra.Command) bool {
	off, err := cmd.Flags().GetBool("no-color")
	if err != nil {
		panic(fmt.Sprintf("no-color is not a flag of %s", cmd.Name()))
	}
	return !off && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(os.Stdout.Fd())) && knownTerminal()
}

// knownTerminal is whether the terminal is of a kind that has colours, and whose cursor goes back to the line's beginning.
// Those that have none are few and say so by their name.
func knownTerminal() bool {
	name := os.Getenv("TERM")
	model, old := strings.CutPrefix(name, "vt")
	old = old && model != "" && model[0] >= '0' && model[0] <= '9'
	return name != "" && name != "dumb" && name != "unknown" && !old
}
