package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/connprof/connprof/internal/live"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/text"
)

// snapshotFlags is what connprof snapshot is asked for.
type snapshotFlags struct {
	live.Options
	view      viewFlags
	output    string
	endpoints string
	json      bool
	formats   map[string]*string
}

func newSnapshot() *cobra.Command {
	f := &snapshotFlags{}
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Show whose connections hold how much kernel memory on this host now",
		Long: `Look once at every TCP socket of the host, in all network namespaces: who has it, what objects and buffers of the
kernel it holds, what stands out, and whether the sum agrees with the kernel's own books. It attaches nothing, opens nothing in any
network but a private one of its own, and changes nothing on the host.`,
		Example: `  sudo connprof snapshot
  sudo connprof snapshot --by container,state -n 50
  sudo connprof snapshot --port 443 --filter 'idle > duration("10m") && state == "CLOSE_WAIT"'
  sudo connprof snapshot -o before.json; sleep 600; sudo connprof snapshot -o after.json; connprof diff before.json after.json`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	f.view.add(flags)
	flags.BoolVar(&f.Exact, "exact", false, "have the kernel settle its counts first: writes to vm.stat_refresh and to the caches' shrink")
	flags.BoolVar(&f.NoCalibrate, "no-calibrate", false, "open no connections of connprof's own; leaves out slabobj_ext vectors and what security modules add")
	flags.StringVarP(&f.output, "output", "o", "", "write the recording to `FILE` (- is standard output)")
	flags.StringVar(&f.endpoints, "endpoints", "", "write a CSV row for each socket to `FILE`")
	flags.BoolVar(&f.json, "json", false, "print the recording in place of the text")
	f.formats = addFormatFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd) }
	return cmd
}

func (f *snapshotFlags) run(cmd *cobra.Command) (err error) {
	view, err := f.view.options()
	if err != nil {
		return usageError{fmt.Errorf("snapshot: %w", err)}
	}
	f.By = view.By
	for _, path := range []string{f.output, f.endpoints} {
		if err := checkOutput(path); err != nil {
			return err
		}
	}
	rec := &recording.Recording{Schema: recording.Schema, Created: time.Now().UTC(), Version: version(), Command: commandLine(),
		Kind: recording.KindSnapshot}
	machine, err := f.look()
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	rec.Machines = []*recording.Machine{machine}
	return f.deliver(cmd, rec, view)
}

// look takes the snapshot, and writes the sockets' rows while it is taken.
func (f *snapshotFlags) look() (m *recording.Machine, err error) {
	if f.endpoints == "" {
		return live.Snapshot(f.Options)
	}
	err = writeFile(f.endpoints, func(w io.Writer) (err error) {
		f.Endpoints = w
		m, err = live.Snapshot(f.Options)
		return err
	})
	return m, err
}

// deliver writes and shows what was found.
func (f *snapshotFlags) deliver(cmd *cobra.Command, rec *recording.Recording, view report.Options) error {
	if f.output != "" {
		if err := writeFile(f.output, func(w io.Writer) error { return rec.WriteNamed(w, f.output) }); err != nil {
			return err
		}
		if f.output != "-" {
			fmt.Fprintln(os.Stderr, "wrote", f.output)
		}
	}
	shown, err := report.NewWith(rec, view)
	if err != nil {
		return err
	}
	if _, err := renderAll(f.formats, func(f report.Format, w io.Writer) error { return f.Write(w, shown) }); err != nil {
		return err
	}
	if f.output == "-" || f.onStdout() {
		return nil
	}
	return writeFile("-", func(w io.Writer) error {
		if f.json {
			return rec.Write(w)
		}
		return text.Format{Color: colored(cmd)}.Write(w, shown)
	})
}

// onStdout tells whether a format goes to standard output, in place of the text.
func (f *snapshotFlags) onStdout() bool {
	for _, path := range f.formats {
		if *path == "-" {
			return true
		}
	}
	return false
}

// viewFlags is how a look is shown.
type viewFlags struct {
	by   []string
	rows int
	sort string
}

// add gives a command the flags.
func (f *viewFlags) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.by, "by", nil, "group by `KEY` or two, such as container,state: "+strings.Join(report.OwnerKeys(), ", "))
	flags.IntVarP(&f.rows, "rows", "n", report.DefaultRows, "owners to list")
	flags.StringVar(&f.sort, "sort", "", "order of the owners: "+strings.Join(report.OwnerOrders(), ", "))
}

// options are the report's, once they are known to be good.
func (f *viewFlags) options() (report.Options, error) {
	o := report.Options{By: f.by, Sort: f.sort, Rows: f.rows}
	return o, o.Check()
}
