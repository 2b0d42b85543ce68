package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/connprof/connprof/internal/experiment"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/remote"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/html"
	"github.com/connprof/connprof/internal/report/text"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/netcfg"
)

// runFlags are the flags of `connprof run`.
type runFlags struct {
	remote.Options // of the run, between two machines where there is a target
	conns, rate    countValue
	output, html   string
	endpoints      string
	budgetTexts    []string
	budgets        budgets
	json           bool
}

func newRun() *cobra.Command {
	f := &runFlags{Options: remote.Options{Options: experiment.Defaults()}}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Open connections, profile them, print the account and write a recording",
		Long: `Open TCP connections between two processes in a network namespace of their own, profile every one of them, print
what they cost the kernel, and write a recording that connprof report can render again.

Nothing of the host's network is touched, and nothing is left behind, however the run ends. Ctrl-C stops opening
and accounts for what is up; a second Ctrl-C skips the account.

With --target the connections go to a connprof serve on another machine, from the addresses that connprof netup has
added here. Each machine profiles its own end, and the recording holds both.`,
		Example: `  sudo connprof run --ips 20 --conns 20k
  sudo connprof run --target 192.168.1.10:8090 --token TOKEN --ips 20
  sudo connprof run --ips 1 --ports 20 --conns 100k --html report.html`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.IntVar(&f.IPs, "ips", f.IPs, "client addresses")
	flags.IntVar(&f.Ports, "ports", f.Ports, "server ports (20 with --ips 1 is the one-address scheme)")
	flags.Var(&f.conns, "conns", "connections in all, such as 20k or 1M (default ips x ports x 50,000, capped at what the host can safely hold)")
	flags.StringVar(&f.Scenario, "scenario", f.Scenario, "what is done with them once open: "+scenarioNames())
	flags.IntVar(&f.Payload, "payload", f.Payload, "bytes sent over each connection, for scenarios that send")
	flags.DurationVar(&f.Hold, "hold", f.Hold, "how long all stay open after the last is up and measured")
	flags.Var(&f.rate, "rate", "connections a second (default unlimited)")
	flags.StringVarP(&f.output, "output", "o", defaultRecording, "the recording; gzipped if the name ends in .gz")
	flags.StringVar(&f.html, "html", "", "render it as a page as well")
	flags.BoolVar(&f.NoProfile, "no-profile", false, "load only: the baseline for the profiler's own cost")
	addHooksFlag(flags, &f.Hooks)
	flags.BoolVar(&f.IPv6, "ipv6", false, "the same over IPv6")
	flags.BoolVar(&f.ThreadPerConnection, "threads-per-connection", false, "the classic server, one thread a connection, beside an epoll run of the same size")
	addMemoryFlag(flags, &f.AllowMemory)
	flags.StringVar(&f.Target, "target", "", "`HOST:PORT` of a connprof serve on another machine")
	flags.StringVar(&f.Token, "token", "", "what that has printed (default $"+tokenEnv+")")
	flags.StringVar(&f.Journal, "journal", netcfg.DefaultJournal, "with --target, the `FILE` in which netup has noted the addresses to connect from")
	flags.StringArrayVar(&f.budgetTexts, "budget", nil, "`ROLE=BYTES`: page bytes an endpoint may cost; exit status 3 beyond (repeatable)")
	flags.BoolVar(&f.json, "json", false, "print the recording to stdout in place of the text")
	flags.StringVar(&f.endpoints, "endpoints", "", "write one CSV row an endpoint to this file")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd) }
	return cmd
}

// addHooksFlag and addMemoryFlag are the flags that every command with probes, and with connections, has.
func addHooksFlag(flags *pflag.FlagSet, hooks *kernel.HookKind) {
	flags.StringVar((*string)(hooks), "hooks", string(experiment.Defaults().Hooks), "force one rung of the attach ladder: "+
		kernel.HookChoices[1:].String())
}

func addMemoryFlag(flags *pflag.FlagSet, percent *int) {
	flags.IntVar(percent, "allow-memory", experiment.Defaults().AllowMemory, "percent of the available memory that the connections may take")
}

// check refuses flags that make no sense.
func (f *runFlags) check() (err error) {
	f.Conns, f.Rate = int(f.conns), int(f.rate)
	if f.Target != "" && f.Token == "" {
		f.Token = os.Getenv(tokenEnv)
	}
	problem := ""
	switch all := f.Scenario == allScenarios && f.Target == ""; {
	case all && (f.html != "" || f.endpoints != "" || f.NoProfile || f.json || len(f.budgetTexts) > 0):
		problem = "--scenario all makes a recording for each scenario and one table: render them with connprof report"
	case all && f.output == "-":
		problem = "--scenario all writes several recordings: give --output a file name"
	case f.output == "":
		problem = "--output: want a file name, or - for standard output"
	case f.NoProfile && (f.html != "" || f.endpoints != "" || len(f.budgetTexts) > 0):
		problem = "--no-profile makes no account: leave out --html, --endpoints and --budget"
	case f.Target == "" && f.Token != "":
		problem = "--token is for --target, which is missing"
	case f.Target != "" && f.Token == "":
		problem = "--target needs --token; connprof serve has printed the whole command to type"
	}
	if problem != "" {
		return usageError{errors.New(problem)}
	}
	if err := f.checkChoices(); err != nil {
		return usageError{err}
	}
	f.budgets, err = parseBudgets(f.budgetTexts)
	return err
}

// checkChoices asks the packages that a run is made by. Where all scenarios are asked for, each of them is.
func (f *runFlags) checkChoices() error {
	if f.Target != "" {
		return f.Options.Validate()
	}
	if f.Scenario != allScenarios {
		return f.Options.Options.Validate()
	}
	for _, s := range load.Scenarios {
		one := f.Options.Options
		one.Scenario = s.Name
		if err := one.Validate(); err != nil {
			return err
		}
	}
	return nil
}

func (f *runFlags) run(cmd *cobra.Command) error {
	f.Started = time.Now()
	if err := f.check(); err != nil {
		return err
	}
	for _, path := range []string{f.output, f.html, f.endpoints} {
		if err := checkOutput(path); err != nil {
			return err
		}
	}
	p := &progress{w: os.Stderr, terminal: term.IsTerminal(int(os.Stderr.Fd()))}
	f.Version, f.Command, f.Hooked, f.Progress = version(), commandLine(), p.hooks, p.show
	ctx, stop, release := watchSignals(cmd.Context())
	defer release()
	f.Stop = stop
	if f.Scenario == allScenarios {
		return f.runAll(ctx, cmd, p)
	}
	f.Measured = func(rec *recording.Recording) error {
		p.clear()
		return f.deliver(cmd, rec)
	}
	rec, err := f.withEndpoints(ctx)
	p.clear()
	held := rec != nil && rec.Load().HoldSeconds > 0
	if held { // the recording was written before
		err = errors.Join(err, f.writeRecording(rec))
	}
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	if held {
		fmt.Fprintf(os.Stderr, "held for %.1f s: all %d connections are still up\n", rec.Load().HoldSeconds, rec.Load().Established)
	}
	return f.verdict(rec)
}

// make makes the run, on this host or between two.
func (f *runFlags) make(ctx context.Context) (*recording.Recording, error) {
	if f.Target != "" {
		return remote.Run(ctx, f.Options)
	}
	return experiment.Run(ctx, f.Options.Options)
}

// withEndpoints runs, and writes the endpoints' CSV while the run makes it. What goes wrong once there is a recording leaves the
// CSV as whole as that.
func (f *runFlags) withEndpoints(ctx context.Context) (rec *recording.Recording, err error) {
	if f.endpoints == "" {
		return f.make(ctx)
	}
	var runErr error
	err = writeFile(f.endpoints, func(w io.Writer) error {
		f.Endpoints = w
		if rec, runErr = f.make(ctx); rec != nil {
			return nil
		}
		return runErr
	})
	if runErr != nil {
		return rec, runErr
	}
	return rec, err
}

// deliver writes the recording and shows the account, while the connections are still up.
func (f *runFlags) deliver(cmd *cobra.Command, rec *recording.Recording) error {
	if err := f.writeRecording(rec); err != nil {
		return err
	}
	if f.html != "" {
		if err := writeFile(f.html, func(w io.Writer) error { return html.Format{}.Write(w, report.New(rec)) }); err != nil {
			return err
		}
	}
	err := writeFile("-", func(w io.Writer) error {
		if f.json {
			return rec.Write(w)
		}
		return text.Format{Color: colored(cmd)}.Write(w, report.New(rec))
	})
	if f.output != "-" {
		fmt.Fprintln(os.Stderr, "wrote", strings.Join(slices.DeleteFunc([]string{f.output, f.html}, isEmpty), " and "))
	}
	return err
}

func isEmpty(s string) bool { return s == "" }

func (f *runFlags) writeRecording(rec *recording.Recording) error {
	if f.output == "-" && f.json {
		return nil // it goes to standard output once
	}
	return writeFile(f.output, func(w io.Writer) error { return rec.WriteNamed(w, f.output) })
}

// watchSignals closes stop at the first SIGINT or SIGTERM. At the second the context ends.
func watchSignals(parent context.Context) (ctx context.Context, stop <-chan struct{}, release func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(parent)
	first := make(chan struct{})
	go func() {
		<-signals
		close(first)
		<-signals
		cancel()
	}()
	return ctx, first, func() { signal.Stop(signals); cancel() }
}
