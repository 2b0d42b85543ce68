// Package experiment is one measured run from end to end: it readies a private network (netcfg), starts the load (load) and
// the probes (loader), watches the ramp, measures, and writes what account makes of it into a recording. It knows
// nothing of flags and terminals: progress goes to a callback.
package experiment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/loader"
	"github.com/connprof/connprof/netcfg"
)

// Options are the choices of `connprof run`.
type Options struct {
	IPs, Ports  int
	Conns       int // 0: as many as the addresses allow and the host can safely hold
	Hold        time.Duration
	Rate        int // connections a second, 0 for no bound
	NoProfile   bool
	Hooks       string
	IPv6        bool
	AllowMemory int // percent of the available memory
	// Scenario is the name of one of load.Scenarios, idle if empty; Payload the bytes it sends, if it sends any.
	Scenario string
	Payload  int
	// ThreadPerConnection has the accepting end serve each connection by a thread of its own. The run is made twice, the
	// first time with epoll.
	ThreadPerConnection bool
	// Target is the HOST:PORT of a connprof serve on another machine, Token what it has printed. The connections are made
	// from the addresses in Journal, which netup writes.
	Target, Token, Journal string
	Started                time.Time
	Version                string
	Command                []string
	// Endpoints gets one CSV row an endpoint; nil for none.
	Endpoints io.Writer
	// Hooked is told what each hook got, before the first connection.
	Hooked func([]recording.Hook)
	// Progress is told how the ramp goes, several times a second.
	Progress func(Status)
	// Measured gets the finished account before the connections are held and torn down.
	Measured func(*recording.Recording) error
	// Stop, once closed, ends the ramp early: what is up is measured. Abort skips the account too.
	Stop  <-chan struct{}
	Abort <-chan struct{}
}

// ErrAborted says that Options.Abort was closed before there was an account.
var ErrAborted = errors.New("aborted before the account was made")

// DefaultPerTuple is how many connections one client address opens to one server port by default.
const DefaultPerTuple = 50_000

// firstServerPort is the first of the server's ports; it is the published experiment's.
const firstServerPort = 8090

// Run makes a run and returns its recording. The recording is not nil when connections were opened, even if the
// error says that something went wrong after that.
func Run(o Options) (*recording.Recording, error) {
	if o.ThreadPerConnection {
		return runThreads(o)
	}
	if o.Target != "" {
		return runTarget(o)
	}
	return (&runner{options: o}).run()
}

func (r *runner) run() (*recording.Recording, error) {
	defer r.cleanUp()
	if err := r.prepare(); err != nil {
		return nil, err
	}
	if err := r.ramp(); err != nil {
		return nil, err
	}
	if err := r.arrange(); err != nil {
		return nil, err
	}
	r.far.measure()
	if err := r.measure(); err != nil {
		return nil, err
	}
	r.far.join(r)
	err := r.options.measured(r.recording)
	spare(r.far.err(), r.options.Abort)
	err = errors.Join(err, r.hold())
	return r.recording, err
}

// arrangeTimeout is how long bringing all connections into the scenario may take.
const arrangeTimeout = time.Minute

// arrange brings the connections into the scenario. What that allocates is traced: nothing is in a hurry.
func (r *runner) arrange() error {
	if r.probes != nil && r.scenario.Acts() {
		if err := r.traceArranging(); err != nil {
			return err
		}
	}
	return r.arrangeSteps()
}

func (o *Options) measured(r *recording.Recording) error {
	if o.Measured == nil {
		return nil
	}
	return o.Measured(r)
}

// runner is the state of one run.
type runner struct {
	options   Options
	conns     int
	capped    string // the limit that set conns, where no number was asked for
	memory    limits.Memory
	files     limits.FileTable
	scenario  load.Scenario
	network   *netcfg.Private
	engine    *load.Engine
	probes    *loader.Probes
	ledger    *account.Ledger
	symbols   *kernel.Symbols
	others    *presence
	drained   chan error
	stopDrain context.CancelFunc
	before    account.Snapshot
	aliases   map[string]string // of slab caches, read before the first connection
	batch     *account.Batch    // the run's beginning; nil until it is up and at rest
	sitesAt0  []kernel.Site     // counted before the first connection
	sitesAt1  []kernel.Site     // counted when the batch was left
	recording *recording.Recording
	machine   *recording.Machine    // of the recording: this one
	interrupt string                // why the ramp ended early
	compares  bool                  // this is one of two runs with different servers
	other     *recording.Comparison // the first of the two
	serving   serving               // before the first connection
	between   *between              // nil where both ends are here
	far       *far                  // the accepting end on another machine, else nil
}

// prepare does everything up to the first connection.
func (r *runner) prepare() error {
	o := &r.options
	if err := limits.CheckPrivileges(); err != nil {
		return err
	}
	if err := r.decideConns(); err != nil {
		return err
	}
	r.others = announce()
	if err := r.enterNetwork(); err != nil {
		return err
	}
	if err := r.far.agree(r); err != nil {
		return err
	}
	// The three take time and do not need each other. An error of one is reported once all are done, so that
	// cleanUp finds what there is to end.
	begun := make(chan error, 2)
	go func() { begun <- r.startLoad() }()
	go func() { begun <- r.readSymbols() }()
	if err := errors.Join(r.startProbes(), <-begun, <-begun); err != nil {
		return err
	}
	r.newRecording()
	if r.probes != nil {
		client, server := r.engine.PIDs()
		if err := r.probes.SetRoles(client, server); err != nil {
			return err
		}
		if r.between != nil {
			if err := r.probes.CountVectors(r.symbols.Range(kernel.Types[kernel.SlabObjExt].Sites...)); err != nil {
				return err
			}
		}
		if o.Hooked != nil {
			o.Hooked(r.machine.Hooks)
		}
	}
	return r.takeBaseline()
}

// enterNetwork makes the run's own network, or takes the host's where the other end is on another machine.
func (r *runner) enterNetwork() (err error) {
	if r.between != nil {
		r.network, err = netcfg.Own()
		return err
	}
	r.network, err = netcfg.NewPrivate(netcfg.Config{ClientAddresses: r.options.IPs, IPv6: r.options.IPv6, Sockets: 2 * r.conns})
	return err
}

// readSymbols reads the kernel's functions early: where they are hidden, no connection need be opened.
func (r *runner) readSymbols() error {
	if r.options.NoProfile {
		return nil
	}
	symbols, err := kernel.ReadSymbols()
	if err != nil {
		return fmt.Errorf("read kernel symbols: %w", err)
	}
	r.symbols = symbols
	return nil
}

func (r *runner) startLoad() error {
	config := r.loadConfig()
	engine, err := load.Start(config, r.network.Start)
	if err != nil {
		return err
	}
	r.engine = engine
	return nil
}

// handshakeTimeout ends the wait for handshakes that make no progress; a lost SYN is sent again after 1, 3 and 7 s.
const handshakeTimeout = 15 * time.Second

func (r *runner) loadConfig() load.Config {
	c := load.Config{End: kernel.RoleBoth, Clients: r.network.Clients, Server: r.network.Server, Connections: r.conns, Rate: r.options.Rate,
		Backlog: netcfg.Backlog, Timeout: handshakeTimeout, Scenario: r.scenario.Name, Payload: r.options.Payload,
		ThreadPerConnection: r.options.ThreadPerConnection}
	if r.between != nil {
		return r.between.loadConfig(c)
	}
	for i := range r.options.Ports {
		c.Ports = append(c.Ports, uint16(firstServerPort+i))
	}
	return c
}

func (r *runner) startProbes() error {
	if r.options.NoProfile {
		return nil
	}
	probes, err := loader.Load(loader.Config{Netns: r.network.Inode(), Hooks: kernel.HookKind(r.options.Hooks),
		SampleInterval: sampleInterval(r.batchSize()), Ports: r.between.probed()})
	if err != nil {
		return err
	}
	r.probes = probes
	r.ledger = account.NewLedger(2 * r.conns)
	ctx, cancel := context.WithCancel(context.Background())
	r.stopDrain = cancel
	r.drained = make(chan error, 1)
	go func() { r.drained <- probes.Drain(ctx, r.ledger) }()
	return nil
}

func (r *runner) newRecording() {
	o := &r.options
	release, machine := kernel.Release()
	r.machine = &recording.Machine{
		Host:      recording.Host{Kernel: release, CPUs: runtime.NumCPU(), MemoryBytes: r.memory.TotalBytes, Machine: machine},
		Hooks:     []recording.Hook{},
		Load:      &recording.Load{End: r.between.role(), Scenario: r.scenario.Name, ClientAddresses: o.IPs, ServerPorts: o.Ports, Requested: r.conns, Capped: r.capped},
		Endpoints: []recording.EndpointRow{}, Top: []recording.TopEndpoint{}, Stacks: []recording.Stack{}, Notes: []string{},
	}
	r.recording = &recording.Recording{Schema: recording.Schema, Created: time.Now().UTC().Truncate(time.Second), Version: o.Version,
		Command: o.Command, Kind: recording.KindRun, Machines: []*recording.Machine{r.machine}}
	r.between.sign(r.machine)
	if r.probes == nil {
		return
	}
	for _, h := range r.probes.Hooks() {
		r.machine.Hooks = append(r.machine.Hooks, recording.Hook{Name: string(h.Name), Function: h.Function, Kind: string(h.Kind),
			Attached: h.Attached, Note: h.Note})
	}
}

func (r *runner) takeBaseline() error {
	if err := r.far.begin(r); err != nil {
		return err
	}
	// Reading them fills the inode and dentry caches, the first time after boot.
	if r.probes != nil {
		slabs, err := kernel.ReadSlabinfo()
		if err != nil {
			return fmt.Errorf("read slab caches: %w; run as root", err)
		}
		r.aliases = kernel.Aliases("/sys/kernel/slab", slabs)
	}
	before, err := snapshot()
	if err != nil {
		return err
	}
	r.before = before
	if r.compares {
		_, server := r.engine.PIDs()
		if r.serving, err = readServing(server); err != nil {
			return err
		}
	}
	if r.probes != nil {
		r.sitesAt0, _, err = r.probes.Sites()
	}
	return err
}

// snapshot reads what the kernel says of its slab memory, once it has been asked to bring that up to date. Where it
// cannot be, the figures are off by what lies with the CPUs, and the report shows it as unexplained.
func snapshot() (account.Snapshot, error) {
	_ = kernel.SettleCounts()
	info, err := kernel.ReadMeminfo()
	if err != nil {
		return account.Snapshot{}, fmt.Errorf("read slab memory: %w", err)
	}
	slabs, err := kernel.ReadSlabinfo()
	if err != nil {
		return account.Snapshot{}, fmt.Errorf("read slab caches: %w; run as root", err)
	}
	return account.Snapshot{SlabBytes: info["Slab"], Slabs: slabs}, nil
}

// cleanUp ends what is still running; the kernel does the same if this process dies before it.
func (r *runner) cleanUp() {
	r.far.leave()
	if r.stopDrain != nil {
		r.stopDrain()
		<-r.drained
	}
	if r.probes != nil {
		_ = r.probes.Close() // detached in any case: the descriptors close with the process
	}
	if r.engine != nil {
		r.engine.End()
	}
	if r.network != nil {
		r.network.Close()
	}
	if r.others != nil {
		r.others.leave()
	}
}

// Capacity is how many connections the given numbers of client addresses and server ports allow.
func Capacity(ips, ports int) int { return load.MaxCapacity(ips, ports) }
