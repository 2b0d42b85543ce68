package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/live"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/top"
)

// topFlags is what connprof top is asked for.
type topFlags struct {
	live.Options
	choice   choiceFlags
	view     viewFlags
	interval time.Duration
	count    int
	once     bool
	json     bool
	screen   bool // for a person
}

// defaultInterval is the time between two looks.
const defaultInterval = 2 * time.Second

func newTop() *cobra.Command {
	f := &topFlags{}
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show again and again whose connections hold how much kernel memory",
		Long: `Look at every TCP socket of the host again and again, and show what has changed: sockets, slab and buffers by owner, and
what is opened and closed a second. On a terminal it is a screen with keys, ? lists them. Where there is none, and with --once, --count
or --json, it prints a table or a line for each look. Looking takes no more than a tenth of a processor: the next look comes no sooner
than ten times as long as the last one took.`,
		Example: `  sudo connprof top
  sudo connprof top -c 10 -i 1s
  sudo connprof top --by container --sort sockets -n 5
  sudo connprof top --json | jq '.sockets'`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.DurationVarP(&f.interval, "interval", "i", defaultInterval, "`TIME` between two looks")
	flags.IntVarP(&f.count, "count", "c", 0, "end after so many looks (0: at Ctrl-C)")
	flags.BoolVar(&f.once, "once", false, "look once")
	flags.BoolVar(&f.json, "json", false, "print a line of JSON for each look")
	f.view.add(flags)
	f.choice.add(flags)
	flags.BoolVar(&f.NoCalibrate, "no-calibrate", false, "open no connections of connprof's own; leaves out slabobj_ext vectors and what security modules add")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd) }
	return cmd
}

// check makes sense of the flags.
func (f *topFlags) check(cmd *cobra.Command) (view report.Options, err error) {
	if err := checkEmpty(cmd.Flags()); err != nil {
		return view, err
	}
	counted := cmd.Flags().Changed("count")
	switch {
	case f.interval <= 0:
		return view, fmt.Errorf("--interval %s: want a time above 0, such as 2s", f.interval)
	case f.count < 0:
		return view, fmt.Errorf("--count %d: want 1 or more, or 0 for no end", f.count)
	case f.once && counted:
		return view, errors.New("--once and --count exclude each other: --once is --count 1")
	}
	f.screen = interactive() && !f.once && !counted && !f.json
	if f.once {
		f.count = 1
	}
	if f.Choice, err = f.choice.compile(); err != nil {
		return view, err
	}
	if view, err = f.view.options(); err != nil {
		return view, err
	}
	if slices.Contains(view.By, "opener") {
		return view, errors.New("--by opener: looks do not know who opened what; use connprof record")
	}
	view.Sort = cmp.Or(view.Sort, "bytes")
	if len(view.By) == 0 {
		view.By = []string{"process"}
	}
	f.By = view.By
	return view, nil
}

func (f *topFlags) run(cmd *cobra.Command) error {
	view, err := f.check(cmd)
	if err != nil {
		return usageError{fmt.Errorf("top: %w", err)}
	}
	ctx, stop, release := watchSignals(cmd.Context())
	defer release()
	watcher, err := live.NewWatcher(f.Options)
	if err != nil {
		return fmt.Errorf("top: %w", err)
	}
	if f.screen {
		err = f.show(ctx, stop, watcher, view)
	} else {
		err = errors.Join(f.watch(ctx, stop, watcher, view), watcher.Close())
	}
	if err != nil {
		return fmt.Errorf("top: %w", err)
	}
	return nil
}

// watch prints looks until it is told to stop, all are there, or nobody reads them any more.
func (f *topFlags) watch(ctx context.Context, stop <-chan struct{}, w *live.Watcher, view report.Options) error {
	if f.count != 1 { // one look has no rates
		if err := w.Count(); err != nil {
			return err
		}
	}
	ticks := top.NewTicker(view.By, view.Sort)
	for n := 1; ; n++ {
		t, err := ticks.Look(w)
		if err != nil {
			return err
		}
		out, err := t.Text(f.view.rows), error(nil)
		if f.json {
			out, err = t.Line()
		}
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(out); errors.Is(err, unix.EPIPE) {
			return nil // its reader has what it wants
		} else if err != nil {
			return err
		}
		if n == f.count {
			return nil
		}
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			return nil
		case <-time.After(w.Pause(f.interval)):
		}
	}
}
