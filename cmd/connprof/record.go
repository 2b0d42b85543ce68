package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/connprof/connprof/internal/live"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
)

// recordFlags is what connprof record is asked for.
type recordFlags struct {
	live.RecordOptions
	choice    choiceFlags
	view      viewFlags
	stacks    string
	output    string
	endpoints string
	json      bool
	formats   map[string]*string
	outputs   *outputs
	listed    error // what went wrong with the sockets' rows
}

// The choices of --stacks.
const (
	stacksAuto = "auto"
	stacksUser = "user"
	stacksOff  = "off"
)

// defaultDuration is how long a record watches where no command is given.
const defaultDuration = 10 * time.Second

func newRecord() *cobra.Command {
	f := &recordFlags{}
	cmd := &cobra.Command{
		Use:   "record [flags] [-- COMMAND [ARG...]]",
		Short: "Show which code opened the connections that stay open",
		Long: `Watch TCP connections being opened and closed for a while, and show which code opened what is still open at the end, with the
kernel memory that it holds. Without a command it watches the whole host, or what the flags choose. With one it starts the command as
the user who called sudo, watches what it and its children open, and ends with it. Ctrl-C ends early, with the report.`,
		Example: `  sudo connprof record --duration 60s --html leaks.html
  sudo connprof record -p 4711
  sudo connprof record -o rec.json -- ./server --port 8080
  connprof report rec.json --pprof conn.pb.gz && go tool pprof -http : conn.pb.gz`,
		Args: cobra.ArbitraryArgs,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.DurationVar(&f.Duration, "duration", 0, "how long to watch (default 10s; with a command as long as it runs)")
	flags.StringVar(&f.stacks, "stacks", stacksAuto, "whose code is told apart: `auto`, user, or off, which names processes alone")
	flags.BoolVar(&f.AcceptStacks, "accept-stacks", false, "watch accept() at the end of every system call where no probe can be had: costs each call some 0.2 µs")
	f.choice.add(flags)
	f.view.add(flags)
	flags.BoolVar(&f.Exact, "exact", false, "have the kernel settle its counts first: writes to vm.stat_refresh and to the caches' shrink")
	flags.BoolVar(&f.NoCalibrate, "no-calibrate", false, "open no connections of connprof's own; leaves out slabobj_ext vectors and what security modules add")
	flags.StringVarP(&f.output, "output", "o", "", "write the recording to `FILE` (- is standard output)")
	flags.StringVar(&f.endpoints, "endpoints", "", "write a CSV row for each socket to `FILE`")
	flags.BoolVar(&f.json, "json", false, "print the recording in place of the text")
	flags.BoolVar(&f.Compare, "compare-stacks", false, "unwind every stack, and tell how many were taken for another: for tests")
	_ = flags.MarkHidden("compare-stacks")
	f.formats = addFormatFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) }
	return cmd
}

// check makes sense of the flags.
func (f *recordFlags) check(cmd *cobra.Command, args []string) (view report.Options, err error) {
	if err := checkEmpty(cmd.Flags()); err != nil {
		return view, err
	}
	switch dash := cmd.ArgsLenAtDash(); {
	case len(args) > 0 && dash != 0:
		return view, fmt.Errorf("unexpected argument %q: a command comes after --", args[0])
	case len(args) == 0 && dash == 0: // such as that of a shell variable which is not set: it would watch everything
		return view, errors.New("there is no command after --: name one, or leave -- out")
	}
	switch f.stacks {
	case stacksAuto, stacksUser:
		f.Stacks = true
	case stacksOff:
	default:
		return view, fmt.Errorf("--stacks %q: want auto, user or off", f.stacks)
	}
	switch given := cmd.Flags().Changed("duration"); {
	case given && f.Duration <= 0:
		return view, fmt.Errorf("--duration %s: want a time above 0, such as 60s", f.Duration)
	case !given && len(args) == 0:
		f.Duration = defaultDuration
	}
	if f.Choice, err = f.choice.compile(); err != nil {
		return view, err
	}
	if len(args) > 0 {
		if name := f.choice.ofProcesses(); name != "" {
			return view, fmt.Errorf("--%s and a command exclude each other: a command's own processes are watched", name)
		}
		if f.Command, err = commandOf(args); err != nil {
			return view, err
		}
	}
	view, err = f.view.options()
	f.By = view.By
	return view, err
}

func (f *recordFlags) run(cmd *cobra.Command, args []string) error {
	view, err := f.check(cmd, args)
	if err != nil {
		return usageError{fmt.Errorf("record: %w", err)}
	}
	if f.Command != nil {
		if err := f.Command.Find(); err != nil {
			return fmt.Errorf("record: %w", err)
		}
	}
	if err := f.open(); err != nil {
		return err
	}
	defer f.outputs.close()
	messages := newConsole(os.Stderr)
	defer messages.close()
	p := newProgress(messages)
	f.Ready, f.Progress = p.hooks, func(s live.RecordStatus) { p.line(recordLine(s), false) }
	ctx, stop, release := watchSignals(cmd.Context())
	defer release()
	f.Stop = stop
	machine, interrupted, err := f.record(ctx)
	p.clear()
	messages.flush()
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return f.deliver(cmd, recordingOf(recording.KindRecord, machine, interrupted), view)
}

// open opens all that is written, so that nothing begins where something could not be written.
func (f *recordFlags) open() (err error) {
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

// record watches, and writes the sockets' rows at the end. What goes wrong with them does not lose the account.
func (f *recordFlags) record(ctx context.Context) (m *recording.Machine, interrupted string, err error) {
	o := f.outputs.by["--endpoints"]
	if o == nil {
		return live.Record(ctx, f.RecordOptions)
	}
	f.listed = o.write(func(w io.Writer) error {
		to := &rows{to: w}
		f.Endpoints = to
		if m, interrupted, err = live.Record(ctx, f.RecordOptions); err != nil {
			return err
		}
		return to.err
	})
	return m, interrupted, err
}

// deliver writes and shows what was found. What cannot be written is no reason to leave out the rest.
func (f *recordFlags) deliver(cmd *cobra.Command, rec *recording.Recording, view report.Options) error {
	return deliverLook(cmd, rec, view, f.outputs, f.output, f.listed)
}

// recordLine is one line of progress.
func recordLine(s live.RecordStatus) string {
	line := fmt.Sprintf("%5.0f s  %.0f opens/s, %.0f closes/s, %d open now", s.Elapsed.Seconds(), s.OpensPerSecond, s.ClosesPerSecond, s.Open)
	if s.Failed > 0 {
		line += fmt.Sprintf(", %d failed", s.Failed)
	}
	if s.Paths > 0 {
		line += fmt.Sprintf("  %d stacks read", s.Paths)
	}
	if s.Lost > 0 {
		line += fmt.Sprintf("  %d lost", s.Lost)
	}
	return line
}

// commandOf is the command that args say, as the user who called sudo.
func commandOf(args []string) (*live.Command, error) {
	program, err := programOf(args)
	if err != nil {
		return nil, err
	}
	return &live.Command{Args: program.Args, Credential: program.Credential, Environ: program.Environ}, nil
}
