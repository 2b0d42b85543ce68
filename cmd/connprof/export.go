package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/moby/sys/capability"
	"github.com/spf13/cobra"

	"github.com/connprof/connprof/internal/exporter"
	"github.com/connprof/connprof/internal/live"
	"github.com/connprof/connprof/internal/privilege"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/export"
)

// exportFlags is what connprof export is asked for.
type exportFlags struct {
	live.Options
	choice    choiceFlags
	listen    string
	interval  time.Duration
	webConfig string
	walkOnly  bool
}

func newExport() *cobra.Command {
	f := &exportFlags{}
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Serve what a snapshot finds to Prometheus, and profiles of who opens connections",
		Long: `Serve metrics of all TCP sockets of the host at /metrics: how many, whose, in which state, what they hold, how full accept queues,
TCP's memory and connection tracking are, and how many connections are opened, closed and failed. All scrapes share one look at the host.
/debug/pprof/connections?seconds=N watches for a while and answers with a pprof profile of the code that opened what is still open.
Owners are units, containers and pods; no process, no peer. It changes nothing on the host.`,
		Example: `  sudo connprof export
  curl -s http://127.0.0.1:9876/metrics
  go tool pprof -top 'http://127.0.0.1:9876/debug/pprof/connections?seconds=30'`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.listen, "listen", "127.0.0.1:9876", "serve at this `ADDRESS:PORT`")
	flags.DurationVar(&f.interval, "interval", 15*time.Second, "the interval of Prometheus: a look serves all scrapes for two thirds of it")
	flags.StringVar(&f.webConfig, "web-config", "", "TLS and basic auth from this `FILE`, in the format of Prometheus' exporters")
	flags.BoolVar(&f.walkOnly, "walk-only", false, "attach nothing to the kernel; leaves out opens, closes and failures")
	f.choice.add(flags)
	flags.BoolVar(&f.NoCalibrate, "no-calibrate", false, "open no connections of connprof's own; leaves out slabobj_ext vectors and what security modules add")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context()) }
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error { return f.check(cmd) }
	return cmd
}

// check makes sense of the flags.
func (f *exportFlags) check(cmd *cobra.Command) (err error) {
	if err := checkEmpty(cmd.Flags()); err != nil {
		return usageError{fmt.Errorf("export: %w", err)}
	}
	if f.interval < time.Second {
		return usageError{fmt.Errorf("export: --interval %s: want 1s at least", f.interval)}
	}
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return usageError{fmt.Errorf("export: --listen %s: want an address with a port, such as 127.0.0.1:9876", f.listen)}
	}
	if f.Choice, err = f.choice.compile(); err != nil {
		return usageError{fmt.Errorf("export: %w", err)}
	}
	if err := exporter.CheckWebConfig(f.webConfig); err != nil {
		return fmt.Errorf("export: --web-config: %w", err)
	}
	return nil
}

// exportKeeps is what looks and profiles need once all is loaded that is loaded once.
var exportKeeps = []capability.Cap{
	capability.CAP_BPF,                // maps, and the programs of a profile
	capability.CAP_PERFMON,            // the same
	capability.CAP_DAC_READ_SEARCH,    // slabinfo, and the files of programs
	capability.CAP_SYS_PTRACE,         // where other processes have their code
	capability.CAP_CHECKPOINT_RESTORE, // libraries that have been replaced or deleted since, by /proc/PID/map_files
}

func (f *exportFlags) run(parent context.Context) error {
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// What could be read anew is read for each connection, so that SIGHUP has nothing to do.
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer l.Close()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	watcher, err := live.NewWatcher(f.Options)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if !f.walkOnly {
		if err := watcher.Count(); err != nil {
			return errors.Join(fmt.Errorf("export: %w", err), watcher.Close())
		}
	}
	looks := exporter.NewLooks(watcher, f.interval)
	if _, err := looks.Get(ctx); err != nil { // what cannot be had is said at once
		if ctx.Err() != nil {
			return nil // it was told to end
		}
		return fmt.Errorf("export: %w", err)
	}
	if err := privilege.Keep(exportKeeps...); err != nil {
		log.Warn("the exporter goes on with all capabilities that it was started with", "why", err)
	}
	log.Info("serving", "at", "http://"+l.Addr().String()+"/metrics")
	// The kernel takes the programs away with the process: a look that does not end holds nobody up.
	err = exporter.Serve(ctx, l, exporter.Config{Looks: looks, Version: version(), Profile: f.profile, Log: log}, f.webConfig)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

// profile watches for a while, and writes who opened what.
func (f *exportFlags) profile(ctx context.Context, d time.Duration, w io.Writer) error {
	m, interrupted, err := live.Record(ctx, live.RecordOptions{Options: f.Options, Duration: d, Stacks: true})
	if err != nil {
		return err
	}
	shown, err := report.NewWith(recordingOf(recording.KindRecord, m, interrupted), report.Options{})
	if err != nil {
		return err
	}
	return export.Pprof{}.Write(w, shown)
}
