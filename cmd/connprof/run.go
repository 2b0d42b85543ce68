package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/experiment"
	"github.com/connprof/connprof/internal/guard"
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
	payload        sizeValue
	rmem, wmem     sizeValue
	output, html   string
	endpoints      string
	outputs        *outputs
	text           *output // where the account goes
	delivery       delivery
	recorded       bool // the recording is written
	messages       *console
	budgetTexts    []string
	budgets        budgets
	json           bool
	server         serverFlags
}

func newRun() *cobra.Command {
	f := &runFlags{Options: remote.Options{Options: experiment.Defaults()}}
	f.payload = sizeValue(f.Payload)
	cmd := &cobra.Command{
		Use:   "run [flags] [-- COMMAND [ARG...]]",
		Short: "Open connections, profile them, print the account and write a recording",
		Long: `Open TCP connections between two processes in a network namespace of their own, profile every one of them, print
what they cost the kernel, and write a recording that connprof report can render again.

Nothing of the host's network is touched, and nothing is left behind, however the run ends. Ctrl-C stops opening
and accounts for what is up; a second Ctrl-C skips the account.

With --target the connections go to a connprof serve on another machine, from the addresses that connprof netup has
added here. Each machine profiles its own end, and the recording holds both.

With a command after -- that program is the accepting end: it is started in the run's network as the user who called sudo, and
ended with all that it has started. Both ends are profiled, and what the program takes beside the kernel is told, too.`,
		Example: `  sudo connprof run --ips 20 --conns 20k
  sudo connprof run --target 192.168.1.10:8090 --token TOKEN --ips 20
  sudo connprof run --ips 1 --ports 20 --conns 100k --html report.html
  sudo connprof run --conns 20k --server-port 8080 -- ./server --port 8080
  sudo connprof run --conns 20k --send 'PING\r\n' --expect PONG -- redis-server --port 6379`,
		Args: cobra.ArbitraryArgs,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.IntVar(&f.IPs, "ips", f.IPs, "client addresses")
	flags.IntVar(&f.Ports, "ports", f.Ports, "server ports (20 with --ips 1 is the one-address scheme)")
	flags.Var(&f.conns, "conns", "connections in all, such as 20k or 1M (default ips x ports x 50,000, capped at what the host can safely hold)")
	flags.StringVar(&f.Scenario, "scenario", f.Scenario, "what is done with them once open: "+scenarioNames())
	flags.Var(&f.payload, "payload", "bytes sent over each connection, for scenarios that send")
	flags.Var(&f.rmem, "rmem", "bytes of a receive buffer in the run's own network, for a larger payload (default the kernel's)")
	flags.Var(&f.wmem, "wmem", "bytes of a send buffer there (default the kernel's)")
	flags.DurationVar(&f.Hold, "hold", f.Hold, "how long all stay open after the last is up and measured")
	flags.BoolVar(&f.Conntrack, "conntrack", f.Conntrack, "put connection tracking into the run's network, and its entries into the account")
	addAfterCloseFlag(flags, &f.AfterClose)
	flags.IntVar(&f.Cycles, "cycles", f.Cycles, "open and close all this often, and tell what slab memory grew by for each closed connection")
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
	f.server.add(flags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.server.options(cmd, args, &f.Options.Options); err != nil {
			return usageError{fmt.Errorf("run: %w", err)}
		}
		return f.run(cmd)
	}
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
	f.Conns, f.Rate, f.Payload, f.Rmem, f.Wmem = int(f.conns), int(f.rate), int(f.payload), int(f.rmem), int(f.wmem)
	if f.Target != "" && f.Token == "" {
		f.Token = os.Getenv(tokenEnv)
	}
	problem := ""
	switch all := f.Scenario == allScenarios && f.Target == ""; {
	case all && (f.html != "" || f.endpoints != "" || f.NoProfile || f.json || len(f.budgetTexts) > 0):
		problem = "--scenario all makes a recording for each scenario and one table: render them with connprof report"
	case all && f.output == "-":
		problem = "--scenario all writes several recordings: give --output a file name"
	case f.Server != nil && (f.Target != "" || f.Scenario == allScenarios):
		problem = "a command after -- is a server of its own: leave out --target, and --scenario all"
	case all && (len(f.AfterClose) > 0 || f.Cycles != 0):
		problem = "--after-close and --cycles are for one scenario: leave out --scenario all"
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
	if f.Server != nil {
		if err := guard.Find(f.Server.Args[0]); err != nil {
			return fmt.Errorf("run: %w", err)
		}
	}
	if err := experiment.CheckThreads(f.endsHere()); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	if err := f.open(); err != nil {
		return err
	}
	defer f.outputs.close()
	f.messages = newConsole(os.Stderr)
	defer f.messages.close()
	if f.server.output {
		f.Server.Output = f.messages
	}
	p := newProgress(f.messages)
	f.Version, f.Command, f.Hooked, f.Progress, f.Told = version(), commandLine(), p.hooks, p.show, p.told
	ctx, stop, release := watchSignals(cmd.Context())
	defer release()
	f.Stop = stop
	err := f.measure(ctx, cmd, p)
	if late := f.delivery.wait(ctx, stop); late != nil {
		err = errors.Join(err, fmt.Errorf("run: %w", late))
	}
	return err
}

// open opens all that the run writes, so that nothing begins where something could not be written.
func (f *runFlags) open() (err error) {
	names := []named{{"--output", f.output}, {"--html", f.html}, {"--endpoints", f.endpoints}}
	if fd, ok := descriptor(f.output); f.json && !(ok && fd == unix.Stdout) {
		names = append(names, named{"--json", stdoutName})
	}
	if f.Scenario == allScenarios {
		names = nil
		for _, s := range load.Scenarios {
			names = append(names, named{scenarioFlag(s.Name), scenarioFile(f.output, s.Name)})
		}
	}
	if f.outputs, err = openOutputs(names); err != nil {
		return err
	}
	f.text = &output{name: "standard output", stream: os.Stdout}
	if f.outputs.useStdout() { // which is then for programs
		f.text = &output{name: "standard error", stream: os.Stderr}
	}
	return nil
}

// measure makes the run, and delivers what it finds.
func (f *runFlags) measure(ctx context.Context, cmd *cobra.Command, p *progress) error {
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
	if o := f.outputs.by["--output"]; held && f.recorded && o.stream == nil { // now with the hold in it
		err = errors.Join(err, f.writeRecording(o, rec))
	}
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	if held {
		fmt.Fprintf(f.messages, "held for %.1f s: all %d connections are still up\n", rec.Load().HoldSeconds, rec.Load().Established)
	}
	return f.verdict(rec)
}

// endsHere is how many ends of the connections are on this host.
func (f *runFlags) endsHere() int {
	if f.Target != "" {
		return 1
	}
	return 2
}

// make makes the run, on this host or between two.
func (f *runFlags) make(ctx context.Context) (*recording.Recording, error) {
	if f.Target != "" {
		return remote.Run(ctx, f.Options)
	}
	return experiment.Run(ctx, f.Options.Options)
}

// withEndpoints runs, and writes the endpoints' CSV while the run makes it. What goes wrong with the CSV does not end the run;
// what goes wrong once there is a recording leaves the CSV as whole as that.
func (f *runFlags) withEndpoints(ctx context.Context) (rec *recording.Recording, err error) {
	o := f.outputs.by["--endpoints"]
	if o == nil {
		return f.make(ctx)
	}
	var runErr error
	list := func(w io.Writer) error {
		to := &rows{to: w}
		f.Endpoints = to
		if rec, runErr = f.make(ctx); rec == nil {
			return runErr
		}
		return to.err
	}
	if o.stream == nil {
		err = o.write(list)
	} else {
		err = f.later(o, list)
	}
	if rec == nil && runErr != nil {
		return nil, runErr
	}
	return rec, errors.Join(runErr, err)
}

// later gives a stream what is written, once all of it is: its reader may be slow.
func (f *runFlags) later(o *output, write func(io.Writer) error) error {
	kept, err := spool()
	if err != nil {
		return fmt.Errorf("write %s: %w", o.name, err)
	}
	if err := write(kept); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", o.name, plainCause(err)), kept.Close())
	}
	if _, err := kept.Seek(0, io.SeekStart); err != nil {
		return errors.Join(err, kept.Close())
	}
	return f.delivery.start(o, kept)
}

// deliver writes the recording and shows the account, while the connections are still up. What cannot be written is no reason
// to leave out the rest.
func (f *runFlags) deliver(cmd *cobra.Command, rec *recording.Recording) error {
	f.messages.flush()
	var errs []error
	var wrote []string
	done := func(o *output, err error) bool {
		if err == nil && !o.toStdout() && !f.delivery.waitsFor(o) {
			wrote = append(wrote, o.name)
		}
		errs = append(errs, err)
		return err == nil
	}
	if o := f.outputs.by["--output"]; o != nil {
		f.recorded = done(o, f.writeRecording(o, rec))
	}
	shown := report.New(rec)
	if o := f.outputs.by["--html"]; o != nil {
		done(o, f.delivery.write(o, func(w io.Writer) error { return html.Format{}.Write(w, shown) }))
	}
	switch o := f.outputs.by["--json"]; {
	case o != nil:
		errs = append(errs, f.delivery.write(o, rec.Write))
	case !f.json:
		errs = append(errs, f.delivery.write(f.text, func(w io.Writer) error {
			return text.Format{Color: f.text.toStdout() && colored(cmd)}.Write(w, shown)
		}))
	}
	if len(wrote) > 0 {
		fmt.Fprintln(f.messages, "wrote", strings.Join(wrote, " and "))
	}
	return errors.Join(errs...)
}

func (f *runFlags) writeRecording(o *output, rec *recording.Recording) error {
	return f.delivery.write(o, func(w io.Writer) error { return rec.WriteNamed(w, f.output) })
}

// watchSignals closes stop at the first SIGINT, SIGTERM or SIGHUP, which says that the terminal is gone. At the second the
// context ends. A reader that is gone is an error of the write from then on, and no signal.
func watchSignals(parent context.Context) (ctx context.Context, stop <-chan struct{}, release func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	unread := make(chan os.Signal, 1) // not signal.Ignore: the processes of the load would inherit that
	signal.Notify(unread, syscall.SIGPIPE)
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
