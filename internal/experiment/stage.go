package experiment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/netcfg"
)

// firstServerPort is the first of the server's ports; it is the published experiment's.
const firstServerPort = 8090

// Stage is what stands while a run lasts: the network, the load processes and the probes. What they find out is gathered in
// one machine's part of a recording.
type Stage struct {
	abort   context.Context
	plan    *Plan
	network *netcfg.Private
	engine  *load.Engine
	profile profile
	others  *presence
	machine *recording.Machine
	before  account.Snapshot
	// available is MemAvailable before the first connection, in bytes; 0 where it is not needed.
	available uint64
	// unarranged are the steps of the scenario that not all connections took.
	unarranged []*load.UnarrangedError
	serving    serving // before the first connection, where servers are compared
	stays      *stays  // nil where nobody asks what stays after the close
}

// Open makes everything ready for the first connection. The end of the context kills the load, which ends every wait for it.
func Open(ctx context.Context, plan *Plan) (*Stage, error) {
	s := &Stage{abort: ctx, plan: plan, profile: unprofiled{}, others: announce()}
	if err := s.open(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stage) open() error {
	if err := s.enterNetwork(); err != nil {
		return err
	}
	// The two take time and do not need each other. An error of one is reported once both are done, so that Close finds what
	// there is to end.
	started := make(chan error, 1)
	go func() { started <- s.startLoad() }()
	p, err := startProfile(s.plan, s.network)
	if err == nil {
		s.profile = p
	}
	if err := errors.Join(err, <-started); err != nil {
		return err
	}
	s.machine = s.newMachine()
	if err := s.profile.know(s.engine.PIDs()); err != nil {
		return err
	}
	if told := s.plan.Options.Hooked; told != nil && !s.plan.Options.NoProfile {
		told(s.machine.Hooks)
	}
	return nil
}

// enterNetwork makes the run's own network, or takes the host's where the other end is on another machine.
func (s *Stage) enterNetwork() (err error) {
	o, ends := &s.plan.Options, s.plan.Ends
	if !ends.private() {
		if s.network, err = netcfg.Own(); err != nil {
			return err
		}
		return s.fitPayload()
	}
	receive, send := o.buffers()
	s.network, err = netcfg.NewPrivate(netcfg.Config{ClientAddresses: o.IPs, IPv6: o.IPv6, Sockets: 2 * s.plan.Conns,
		ReceiveBuffer: receive, SendBuffer: send})
	if err != nil {
		return err
	}
	if err := errors.Join(s.fitPayload(), s.fitBacklog()); err != nil {
		return err
	}
	if err := s.trackConnections(); err != nil {
		return err
	}
	ends.Server, ends.Backlog = s.network.Server, s.network.Backlog
	ends.SetClients(s.network.Clients)
	ends.SetPorts(firstServerPort, o.Ports)
	return s.startServer()
}

// startServer starts the program that is to be the accepting end, where there is one.
func (s *Stage) startServer() error {
	server, ends := s.plan.served, s.plan.Ends
	if server == nil {
		return nil
	}
	if err := server.start(s.network, s.plan); err != nil {
		return err
	}
	ends.Served, ends.Server, ends.Backlog = true, server.at.Addr(), server.queues.backlog
	ends.SetPorts(int(server.at.Port()), 1)
	return nil
}

func (s *Stage) startLoad() error {
	o := &s.plan.Options
	config := s.plan.Ends.loadConfig(load.Config{Connections: s.plan.Conns, Rate: o.Rate, Timeout: handshakeTimeout,
		Scenario: s.plan.Scenario.Name, Payload: o.Payload, ThreadPerConnection: o.ThreadPerConnection, Exchange: o.Exchange})
	engine, err := load.StartContext(s.abort, config, s.network.Start)
	if err != nil {
		return err
	}
	s.engine = engine
	return nil
}

func (s *Stage) newMachine() *recording.Machine {
	release, hardware := kernel.Release()
	p := s.plan
	load := &recording.Load{End: p.Ends.Here, Scenario: p.Scenario.Name, ClientState: p.Scenario.Client,
		ServerState: p.Scenario.Server, ClientAddresses: p.Options.IPs,
		ServerPorts: p.Options.Ports, Requested: p.Conns, Capped: p.Capped}
	m := &recording.Machine{
		Host:  recording.Host{Kernel: release, CPUs: runtime.NumCPU(), MemoryBytes: p.memory.TotalBytes, Machine: hardware},
		Hooks: s.profile.hooks(), Load: load, Notes: []string{},
		Endpoints: []recording.EndpointRow{}, Top: []recording.TopEndpoint{}, Stacks: []recording.Stack{},
	}
	if p.Scenario.Sends {
		load.PayloadBytes = uint64(p.Options.Payload)
	}
	if !p.Ends.private() {
		m.Name, m.Host.Boot = kernel.HostName(), kernel.BootID()
		load.ClientAddresses, load.ServerPorts = len(p.Ends.Clients), len(p.Ends.Ports)
	}
	if unset := s.network.Unset; len(unset) > 0 {
		m.Notes = append(m.Notes, fmt.Sprintf("the run's own namespace has the kernel's defaults, as /proc/sys is read-only: %s; a large run "+
			"is slower so, with the host's hash of connections; make /proc/sys writable (docker run --privileged)",
			strings.Join(unset, ", ")))
	}
	return m
}

// Plan is what is being opened.
func (s *Stage) Plan() *Plan { return s.plan }

// Engine is the load.
func (s *Stage) Engine() *load.Engine { return s.engine }

// Queued counts the connections that the kernel holds and nobody has accepted; 0 without a profile. The trace may be on.
func (s *Stage) Queued() (int, error) { return s.profile.queued() }

// cpuTime is what connprof and the load have taken of the CPUs so far.
func (s *Stage) cpuTime() time.Duration {
	client, server := s.engine.PIDs()
	sum := kernel.CPUTime(os.Getpid())
	for _, pid := range []int{client, server} {
		if pid != 0 {
			sum += kernel.CPUTime(pid)
		}
	}
	return sum
}

// Baseline takes the first look at the kernel's memory.
func (s *Stage) Baseline() (err error) {
	if s.plan.served != nil {
		info, err := kernel.ReadMeminfo()
		if err != nil {
			return err
		}
		s.available = info["MemAvailable"]
	}
	if s.before, err = s.profile.baseline(); err != nil || !s.plan.compares {
		return err
	}
	_, server := s.engine.PIDs()
	s.serving, err = readServing(server)
	return err
}

// TakeBatch looks closely at the first connections, which are up and at rest, and makes the plan anew by what one costs. Rest
// lets the other end do so too, before there are more. Without a profile there is nothing to look at.
func (s *Stage) TakeBatch(connections int, rest func() error) error {
	if s.profile.batchSize() == 0 {
		return nil
	}
	client, server, err := s.profile.takeBatch(connections, func() error {
		if err := rest(); err != nil {
			return err
		}
		s.engine.Limit(s.plan.sure())
		return nil
	})
	if err != nil {
		return err
	}
	l := s.machine.Load
	l.ExpectedBytes = client + server
	s.plan.ofServer = s.plan.served.bytesEach(connections)
	if s.machine.Plan, err = s.plan.Replan(client, server); err != nil {
		return fmt.Errorf("after the first %d: %w", connections, err)
	}
	l.Requested, l.Capped = s.plan.Conns, s.plan.Capped
	s.engine.Limit(s.plan.Conns)
	return nil
}

// arrangeTimeout is how long bringing all connections into the scenario may take.
const arrangeTimeout = time.Minute

// TraceArranging has what the scenario's steps allocate traced, if it has any.
func (s *Stage) TraceArranging() error {
	if !s.plan.Scenario.Acts() {
		return nil
	}
	return s.profile.traceArranging(s.plan.Conns)
}

// Act takes this host's part in a step of the scenario. Connections that do not get there are no error: they are measured as
// they are, and the recording says why.
func (s *Stage) Act(step int) error {
	err := s.engine.ArrangeStep(s.plan.Scenario, step, arrangeTimeout)
	var unarranged *load.UnarrangedError
	if errors.As(err, &unarranged) {
		s.unarranged = append(s.unarranged, unarranged)
		return nil
	}
	return err
}

// Close ends what still runs. The kernel does the same if this process dies before it.
func (s *Stage) Close() {
	s.profile.close()
	if s.engine != nil {
		s.engine.End()
	}
	s.plan.served.end()
	if s.network != nil {
		s.network.Close()
	}
	s.others.leave()
}
