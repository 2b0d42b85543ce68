package main

import (
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
	"golang.org/x/term"

	"github.com/connprof/connprof/internal/experiment"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/html"
	"github.com/connprof/connprof/internal/report/text"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/loader"
	"github.com/connprof/connprof/netcfg"
)

// maxPorts bounds the listeners: beyond a few hundred they would eat into the client ports.
const maxPorts = 1000

// runFlags are the flags of `connprof run`.
type runFlags struct {
	ips, ports      int
	conns, rate     countValue
	hold            time.Duration
	scenario        string
	payload         int
	output, html    string
	endpoints       string
	noProfile, ipv6 bool
	threadEach      bool
	hooks           string
	allowMemory     int
	budgetTexts     []string
	budgets         budgets
	json            bool
	target, token   string
	journal         string
	started         time.Time
}

func newRun() *cobra.Command {
	f := &runFlags{}
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
	flags.IntVar(&f.ips, "ips", 20, "client addresses")
	flags.IntVar(&f.ports, "ports", 1, "server ports (20 with --ips 1 is the one-address scheme)")
	flags.Var(&f.conns, "conns", "connections in all, such as 20k or 1M (default ips x ports x 50,000, capped at what the host can safely hold)")
	flags.StringVar(&f.scenario, "scenario", "idle", "what is done with them once open: "+scenarioNames()+", or all")
	flags.IntVar(&f.payload, "payload", 4096, "bytes sent over each connection, for scenarios that send")
	flags.DurationVar(&f.hold, "hold", 0, "how long all stay open after the last is up and measured")
	flags.Var(&f.rate, "rate", "connections a second (default unlimited)")
	flags.StringVarP(&f.output, "output", "o", "connprof.json", "the recording; gzipped if the name ends in .gz")
	flags.StringVar(&f.html, "html", "", "render it as a page as well")
	flags.BoolVar(&f.noProfile, "no-profile", false, "load only: the baseline for the profiler's own cost")
	flags.StringVar(&f.hooks, "hooks", loader.Auto, "force one rung of the attach ladder: "+strings.Join(loader.HookKinds[1:], ", "))
	flags.BoolVar(&f.ipv6, "ipv6", false, "the same over IPv6")
	flags.BoolVar(&f.threadEach, "threads-per-connection", false, "the classic server, one thread a connection, beside an epoll run of the same size")
	flags.IntVar(&f.allowMemory, "allow-memory", 50, "percent of the available memory that the connections may take")
	flags.StringVar(&f.target, "target", "", "`HOST:PORT` of a connprof serve on another machine")
	flags.StringVar(&f.token, "token", "", "what that has printed (default $"+tokenEnv+")")
	flags.StringVar(&f.journal, "journal", netcfg.DefaultJournal, "with --target, the `FILE` in which netup has noted the addresses to connect from")
	flags.StringArrayVar(&f.budgetTexts, "budget", nil, "`ROLE=BYTES`: page bytes an endpoint may cost; exit status 3 beyond (repeatable)")
	flags.BoolVar(&f.json, "json", false, "print the recording to stdout in place of the text")
	flags.StringVar(&f.endpoints, "endpoints", "", "write one CSV row an endpoint to this file")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd) }
	return cmd
}

// check refuses flags that make no sense.
func (f *runFlags) check() error {
	problem := ""
	switch {
	case f.ips < 1 || f.ips > netcfg.MaxClientAddresses:
		problem = fmt.Sprintf("--ips %d: want 1 to %d client addresses", f.ips, netcfg.MaxClientAddresses)
	case f.ports < 1 || f.ports > maxPorts:
		problem = fmt.Sprintf("--ports %d: want 1 to %d server ports", f.ports, maxPorts)
	case int(f.conns) > experiment.Capacity(f.ips, f.ports):
		problem = fmt.Sprintf("--conns %d: %d addresses and %d server ports give %d four-tuples; raise --ips or --ports",
			f.conns, f.ips, f.ports, experiment.Capacity(f.ips, f.ports))
	case !knownScenario(f.scenario):
		problem = fmt.Sprintf("--scenario %q: want one of %s, or all", f.scenario, scenarioNames())
	case f.payload < 1 || f.payload > maxPayload:
		problem = fmt.Sprintf("--payload %d: want 1 to %d bytes, which fit into the socket buffers", f.payload, maxPayload)
	case f.scenario == allScenarios && (f.html != "" || f.endpoints != "" || f.noProfile || f.json || len(f.budgetTexts) > 0):
		problem = "--scenario all makes a recording for each scenario and one table: render them with connprof report"
	case f.scenario == allScenarios && f.output == "-":
		problem = "--scenario all writes several recordings: give --output a file name"
	case f.scenario == "syn-recv" && int(f.conns) > netcfg.Backlog*f.ports:
		problem = fmt.Sprintf("--conns %d: a listener holds %d unfinished handshakes; raise --ports", f.conns, netcfg.Backlog)
	case f.threadEach && !slices.Contains(load.ThreadScenarios, f.scenario):
		problem = fmt.Sprintf("--scenario %s: --threads-per-connection is for %s, where its threads have something to wait for",
			f.scenario, strings.Join(load.ThreadScenarios, " and "))
	case f.hold < 0:
		problem = fmt.Sprintf("--hold %v: want no negative time", f.hold)
	case !slices.Contains(loader.HookKinds, f.hooks):
		problem = fmt.Sprintf("--hooks %q: want one of %s", f.hooks, strings.Join(loader.HookKinds, ", "))
	case f.allowMemory < 1 || f.allowMemory > limits.MaxAllowPercent:
		problem = fmt.Sprintf("--allow-memory %d: want 1 to %d percent; the host needs the rest", f.allowMemory,
			limits.MaxAllowPercent)
	case f.output == "":
		problem = "--output: want a file name, or - for standard output"
	case f.noProfile && (f.html != "" || f.endpoints != "" || len(f.budgetTexts) > 0):
		problem = "--no-profile makes no account: leave out --html, --endpoints and --budget"
	}
	if problem != "" {
		return usageError{errors.New(problem)}
	}
	if err := f.checkTarget(); err != nil {
		return usageError{err}
	}
	var err error
	f.budgets, err = parseBudgets(f.budgetTexts)
	return err
}

// checkTarget refuses what makes no sense between two machines, or without another one.
func (f *runFlags) checkTarget() error {
	switch {
	case f.target == "" && f.token != "":
		return errors.New("--token is for --target, which is missing")
	case f.target == "":
		return nil
	case f.token == "":
		f.token = os.Getenv(tokenEnv)
	}
	if f.token == "" {
		return errors.New("--target needs --token; connprof serve has printed the whole command to type")
	}
	return experiment.CheckTarget(experiment.Options{Target: f.target, Token: f.token, Journal: f.journal, Scenario: f.scenario,
		ThreadPerConnection: f.threadEach})
}

func (f *runFlags) run(cmd *cobra.Command) error {
	f.started = time.Now()
	if err := f.check(); err != nil {
		return err
	}
	for _, path := range []string{f.output, f.html, f.endpoints} {
		if err := checkTarget(path); err != nil {
			return err
		}
	}
	p := &progress{w: os.Stderr, terminal: term.IsTerminal(int(os.Stderr.Fd()))}
	if f.scenario == allScenarios {
		return f.runAll(cmd, p)
	}
	o := f.options(p)
	stop, abort, release := watchSignals()
	defer release()
	o.Stop, o.Abort = stop, abort
	o.Measured = func(rec *recording.Recording) error {
		p.clear()
		return f.deliver(cmd, rec)
	}
	rec, err := f.withEndpoints(&o)
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

func (f *runFlags) options(p *progress) experiment.Options {
	return experiment.Options{IPs: f.ips, Ports: f.ports, Conns: int(f.conns), Hold: f.hold, Rate: int(f.rate),
		NoProfile: f.noProfile, Hooks: f.hooks, Scenario: f.scenario, Payload: f.payload, IPv6: f.ipv6, ThreadPerConnection: f.threadEach, AllowMemory: f.allowMemory, Started: f.started,
		Target: f.target, Token: f.token, Journal: f.journal, Version: version(), Command: commandLine(), Hooked: p.hooks, Progress: p.show}
}

// withEndpoints runs, and writes the endpoints' CSV while the run makes it. What goes wrong once there is a recording leaves the
// CSV as whole as that.
func (f *runFlags) withEndpoints(o *experiment.Options) (rec *recording.Recording, err error) {
	if f.endpoints == "" {
		return experiment.Run(*o)
	}
	var runErr error
	err = writeFile(f.endpoints, func(w io.Writer) error {
		o.Endpoints = w
		if rec, runErr = experiment.Run(*o); rec != nil {
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

// verdict turns what the recording says into the command's outcome.
func (f *runFlags) verdict(rec *recording.Recording) error {
	l := rec.Load()
	if rec.Interrupted != "" {
		return fmt.Errorf("run: stopped early with %d of %d connections up: %s; the account covers what was up",
			l.Established, l.Requested, rec.Interrupted)
	}
	if l.Established < l.Requested {
		reasons := []string{}
		for _, r := range l.Failures {
			reasons = append(reasons, fmt.Sprintf("%d x %s: %s", r.Count, r.Step, r.Error))
		}
		return fmt.Errorf("run: %d of %d connections were not established (%s); the account covers the others",
			l.Requested-l.Established, l.Requested, strings.Join(reasons, ", "))
	}
	for _, row := range rec.Rows() {
		each := float64(row.PageBytes) / float64(max(row.Count, 1))
		if limit, ok := f.budgets[row.Role.String()]; ok && each > limit {
			return budgetError{fmt.Errorf("run: a %s endpoint in %s costs %.1f page bytes, over its budget of %g; "+
				"connprof report %s shows where they go", row.Role, row.State, each, limit, f.output)}
		}
	}
	return nil
}

// watchSignals closes stop at the first SIGINT or SIGTERM and abort at the second.
func watchSignals() (stop, abort <-chan struct{}, release func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	first, second := make(chan struct{}), make(chan struct{})
	go func() {
		<-signals
		close(first)
		<-signals
		close(second)
	}()
	return first, second, func() { signal.Stop(signals) }
}
