package experiment

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/netcfg"
)

// Options are the choices of a run.
type Options struct {
	IPs, Ports int
	Conns      int // 0: as many as the addresses allow and the host can safely hold
	Hold       time.Duration
	Rate       int // connections a second, 0 for no bound
	NoProfile  bool
	// Hooks forces a rung of the attach ladder, one of kernel.HookChoices.
	Hooks       kernel.HookKind
	IPv6        bool
	AllowMemory int // percent of the available memory
	// Scenario is the name of one of load.Scenarios; Payload the bytes it sends, if it sends any.
	Scenario string
	Payload  int
	// Rmem and Wmem are the bytes of a socket's receive and send buffer in the run's own network, 0 for what the kernel gives.
	Rmem, Wmem int
	// ThreadPerConnection has the accepting end serve each connection by a thread of its own. The run is made twice, the
	// first time with epoll.
	ThreadPerConnection bool
	// Server is a program that is to be the accepting end, nil for connprof's own; Exchange is what is said on each connection to it.
	Server   *ServerCommand
	Exchange *load.Exchange
	Started  time.Time
	Version  string
	Command  []string
	// AfterClose are the moments after the last close at which slab memory is looked at; none leaves that out.
	AfterClose []time.Duration
	// Conntrack puts connection tracking into the run's network.
	Conntrack bool
	// Cycles is how many times the connections are opened and closed; 0 for once, of which nothing is told.
	Cycles int
	// Endpoints gets one CSV row an endpoint; nil for none.
	Endpoints io.Writer
	// Hooked is told what each hook got, before the first connection.
	Hooked func([]recording.Hook)
	// Told is told what a run waits for, where that takes long and opens nothing.
	Told func(string)
	// Progress is told how the ramp goes, several times a second.
	Progress func(Status)
	// Measured gets the finished account before the connections are held and torn down.
	Measured func(*recording.Recording) error
	// Stop, once closed, ends the ramp early: what is up is measured.
	Stop <-chan struct{}
}

// Defaults are the choices that nobody has made.
func Defaults() Options {
	return Options{IPs: 20, Ports: 1, Hooks: kernel.KindAuto, AllowMemory: 50, Scenario: "idle", Payload: 4096}
}

// MaxPorts bounds the listeners: beyond a few hundred they would eat into the client ports.
const MaxPorts = 1000

// perTuple is how many connections one client address opens to one server port where no number was asked for.
const perTuple = 50_000

// InvalidError says which choice makes no sense, and why.
type InvalidError struct {
	Field   string // by the name of its flag, such as allow-memory
	Value   string // as it was given; empty where that says nothing
	Problem string
}

func (e *InvalidError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("--%s: %s", e.Field, e.Problem)
	}
	return fmt.Sprintf("--%s %s: %s", e.Field, e.Value, e.Problem)
}

// Word is a value that is known, and so needs no quotes.
type Word string

// Invalid is an *InvalidError. A nil value says nothing; a text is quoted.
func Invalid(field string, value any, format string, args ...any) error {
	e := &InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)}
	switch v := value.(type) {
	case nil:
	case string:
		e.Value = fmt.Sprintf("%q", v)
	default:
		e.Value = fmt.Sprint(v)
	}
	return e
}

// rules are what each choice has to keep to, by the name of its flag.
var rules = []func(*Options) error{
	func(o *Options) error { return within("ips", o.IPs, 1, netcfg.MaxClientAddresses, "client addresses") },
	func(o *Options) error { return within("ports", o.Ports, 1, MaxPorts, "server ports") },
	checkCapacity, checkScenario, checkBuffers, checkPayload, checkBacklog, checkThreads,
	checkHold, checkServer, checkAfterClose, checkCycles, checkConntrack,
	func(o *Options) error {
		if !slices.Contains(kernel.HookChoices, o.Hooks) {
			return Invalid("hooks", string(o.Hooks), "want one of %s", kernel.HookChoices)
		}
		return nil
	},
	func(o *Options) error {
		if o.AllowMemory < 1 || o.AllowMemory > limits.MaxAllowPercent {
			return Invalid("allow-memory", o.AllowMemory, "want 1 to %d percent; the host needs the rest", limits.MaxAllowPercent)
		}
		return nil
	},
}

// Validate refuses choices that make no sense, with an *InvalidError for the first.
func (o *Options) Validate() error {
	for _, check := range rules {
		if err := check(o); err != nil {
			return err
		}
	}
	return nil
}

// within wants a number within its bounds.
func within(field string, n, least, most int, what string) error {
	if n < least || n > most {
		return Invalid(field, n, "want %d to %d %s", least, most, what)
	}
	return nil
}

func checkCapacity(o *Options) error {
	s, _ := load.FindScenario(o.Scenario)
	most := s.Capacity(o.IPs, o.Ports)
	switch {
	case o.Conns <= most:
		return nil
	case s.Listens:
		return Invalid("conns", o.Conns, "%d addresses have room for %d listeners; raise --ips", o.IPs, most)
	}
	return Invalid("conns", o.Conns, "%d addresses and %d server ports give %d four-tuples; raise --ips or --ports", o.IPs, o.Ports, most)
}

func checkScenario(o *Options) error {
	if _, ok := load.FindScenario(o.Scenario); !ok {
		return Invalid("scenario", o.Scenario, "want one of %s", strings.Join(ScenarioNames(), ", "))
	}
	return nil
}

func (o *Options) scenario() load.Scenario {
	s, _ := load.FindScenario(o.Scenario)
	return s
}

// ScenarioNames are the names of load.Scenarios.
func ScenarioNames() (names []string) {
	for _, s := range load.Scenarios {
		names = append(names, s.Name)
	}
	return names
}

// holdMargin is what a scenario's state has lasted already when all connections are in it and measured.
const holdMargin = 10 * time.Second

func checkHold(o *Options) error {
	s, _ := load.FindScenario(o.Scenario)
	switch most := s.Lasts - holdMargin; {
	case o.Hold < 0:
		return Invalid("hold", o.Hold, "want no negative time")
	case s.Lasts > 0 && o.Hold > most:
		return Invalid("hold", o.Hold, "the kernel ends what scenario %s holds after %v; want at most %v", s.Name, s.Lasts, most)
	}
	return nil
}

// checkBacklog wants room in the accept queues for handshakes that nobody finishes, and for connections that nobody accepts.
func checkBacklog(o *Options) error {
	s, _ := load.FindScenario(o.Scenario)
	if !s.Accepted() && o.Conns > netcfg.Backlog*o.Ports {
		return Invalid("conns", o.Conns, "a listener holds %d that are not accepted; raise --ports", netcfg.Backlog)
	}
	return nil
}

func checkThreads(o *Options) error {
	if o.ThreadPerConnection && !slices.Contains(load.ThreadScenarios, o.Scenario) {
		return Invalid("scenario", Word(o.Scenario), "--threads-per-connection is for %s, where its threads have something to wait for",
			strings.Join(load.ThreadScenarios, " and "))
	}
	return nil
}

// leastEvery keeps a client from doing nothing but repeating.
const leastEvery = 100 * time.Millisecond

// checkServer wants nothing of a server of the user's that only connprof's own knows how to do.
func checkServer(o *Options) error {
	x := o.Exchange
	if o.Server == nil {
		if x != nil {
			return Invalid("send", nil, "and --expect are for a server of your own: name its command after --")
		}
		return nil
	}
	switch {
	case o.Server.Port < 0 || o.Server.Port > 65535:
		return Invalid("server-port", o.Server.Port, "want a port from 1 to 65535")
	case o.Server.Wait <= 0:
		return Invalid("server-wait", o.Server.Wait, "want a time above 0, such as 30s")
	case o.Ports != 1:
		return Invalid("ports", o.Ports, "a server of your own has one, --server-port")
	case o.Scenario != "idle":
		return Invalid("scenario", Word(o.Scenario), "a server of your own does as it does: say what it needs by --send and --expect")
	case o.ThreadPerConnection:
		return Invalid("threads-per-connection", nil, "is a server of connprof's: leave it out, or the command")
	case len(o.AfterClose) > 0 || o.Cycles != 0:
		field := "after-close"
		if o.Cycles != 0 {
			field = "cycles"
		}
		return Invalid(field, nil, "is for connprof's own server, which is the same before and after: leave it out, or the command")
	case x != nil && x.Bytes < 0:
		return Invalid("expect", x.Bytes, "want a number of bytes, or a regular expression")
	case x != nil && x.Every != 0 && x.Every < leastEvery:
		return Invalid("every", x.Every, "want %v or more", leastEvery)
	case x != nil && x.Every != 0 && len(x.Send) == 0:
		return Invalid("then", Word("repeat"), "there is nothing to repeat: add --send")
	}
	if x != nil {
		if _, err := x.Compile(); err != nil {
			return Invalid("expect", x.Pattern, "is no regular expression: %v", err)
		}
	}
	return nil
}

// ErrAborted says that the context ended before there was an account.
var ErrAborted = errors.New("aborted before the account was made")

func (o *Options) measured(r *recording.Recording) error {
	if o.Measured == nil {
		return nil
	}
	return o.Measured(r)
}
