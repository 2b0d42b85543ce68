package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/connprof/connprof/internal/live"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/text"
)

// snapshotFlags is what connprof snapshot is asked for.
type snapshotFlags struct {
	live.Options
	choice    choiceFlags
	view      viewFlags
	output    string
	endpoints string
	json      bool
	formats   map[string]*string
	outputs   *outputs
	listed    error // what went wrong with the sockets' rows
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
	flags.SortFlags = false
	f.view.add(flags)
	f.choice.add(flags)
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
	if err := checkEmpty(cmd.Flags()); err != nil {
		return usageError{fmt.Errorf("snapshot: %w", err)}
	}
	if f.Choice, err = f.choice.compile(); err != nil {
		return usageError{fmt.Errorf("snapshot: %w", err)}
	}
	view, err := f.view.options()
	if err != nil {
		return usageError{fmt.Errorf("snapshot: %w", err)}
	}
	if slices.Contains(view.By, "opener") {
		return usageError{errors.New("snapshot: --by opener: a snapshot does not know who opened what; use connprof record")}
	}
	f.By = view.By
	if err := f.open(); err != nil {
		return err
	}
	defer f.outputs.close()
	machine, err := f.look()
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return f.deliver(cmd, recordingOf(recording.KindSnapshot, machine, ""), view)
}

// open opens all that is written, so that nothing begins where something could not be written.
func (f *snapshotFlags) open() (err error) {
	names := []named{{"--output", f.output}, {"--endpoints", f.endpoints}}
	for _, format := range formats {
		names = append(names, named{"--" + format.flag, *f.formats[format.flag]})
	}
	if f.json {
		names = append(names, named{"--json", stdoutName})
	}
	f.outputs, err = openOutputs(names)
	return err
}

// look takes the snapshot, and writes the sockets' rows while it is taken. What goes wrong with them does not lose the account.
func (f *snapshotFlags) look() (m *recording.Machine, err error) {
	o := f.outputs.by["--endpoints"]
	if o == nil {
		return live.Snapshot(f.Options)
	}
	f.listed = o.write(func(w io.Writer) error {
		to := &rows{to: w}
		f.Endpoints = to
		if m, err = live.Snapshot(f.Options); err != nil {
			return err
		}
		return to.err
	})
	return m, err
}

// recordingOf is what a look at this host leaves.
func recordingOf(kind recording.Kind, m *recording.Machine, interrupted string) *recording.Recording {
	return &recording.Recording{Schema: recording.Schema, Created: time.Now().UTC(), Version: version(), Command: commandLine(), Kind: kind,
		Interrupted: interrupted, Machines: []*recording.Machine{m}}
}

// deliver writes and shows what was found.
func (f *snapshotFlags) deliver(cmd *cobra.Command, rec *recording.Recording, view report.Options) error {
	return deliverLook(cmd, rec, view, f.outputs, f.output, f.listed)
}

// deliverLook writes and shows a look at a host. What cannot be written is no reason to leave out the rest. listed is what went wrong
// with the sockets' rows.
func deliverLook(cmd *cobra.Command, rec *recording.Recording, view report.Options, to *outputs, output string, listed error) error {
	shown, err := report.NewWith(rec, view)
	if err != nil {
		return fmt.Errorf("%s: %w", cmd.Name(), err)
	}
	errs := []error{listed}
	for _, o := range to.list {
		switch flag := o.flag; flag {
		case "--output":
			errs = append(errs, o.write(func(w io.Writer) error { return rec.WriteNamed(w, output) }))
		case "--json":
			errs = append(errs, o.write(rec.Write))
		case "--endpoints":
		default:
			errs = append(errs, o.write(func(w io.Writer) error { return formatOf(flag).Write(w, shown) }))
		}
		if errs[len(errs)-1] == nil && o.stream == nil {
			fmt.Fprintln(os.Stderr, "wrote", o.name)
		}
	}
	if !to.useStdout() {
		errs = append(errs, writeFile(stdoutName, func(w io.Writer) error {
			return text.Format{Width: terminalWidth(), Color: colored(cmd)}.Write(w, shown)
		}))
	}
	return errors.Join(errs...)
}

// formatOf is the format that a flag asks for.
func formatOf(flag string) report.Format {
	for _, f := range formats {
		if "--"+f.flag == flag {
			return f.Format
		}
	}
	panic("no format " + flag)
}
