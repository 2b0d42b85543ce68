package experiment

import (
	"errors"
	"fmt"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/netcfg"
)

// Plan is what is going to be opened, and where.
type Plan struct {
	Options  Options
	Ends     *Ends
	Scenario load.Scenario
	Conns    int
	Capped   string // the limit that set Conns, where no number was asked for

	// tracked counts the entries of connection tracking, nil where it is not in the path.
	tracked func() (int, error)

	memory   limits.Memory
	readings limits.Readings // before the first connection
	// compares says that this is one of two runs with different servers; other is the first of the two.
	compares bool
	other    *recording.Comparison
	served   *served // nil where the server is connprof's own
	ofServer uint64  // bytes that a connection takes of that, beside slab memory
}

// userBytes is what the load processes and the profiler keep for a connection themselves.
const userBytes = 400

// ownMemory is what a run takes of a memory cgroup beside its connections: three processes, the maps, and what is to be left for
// the account.
const ownMemory = accountReserve + 24<<20

// NewPlan decides how many connections there will be, before it is known what one costs on this kernel. What cannot fit
// at the least it may cost is refused; the rest is for Replan. Without a profile it is the last word.
func NewPlan(o Options, ends *Ends) (*Plan, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := load.CheckFiles(); err != nil {
		return nil, err
	}
	p := &Plan{Options: o, Ends: ends, Conns: o.Conns}
	p.Scenario, _ = load.FindScenario(o.Scenario)
	if p.Conns == 0 {
		p.Conns = min(o.IPs*o.Ports*perTuple, p.Scenario.Capacity(o.IPs, o.Ports))
		if !p.Scenario.Accepted() {
			p.Lower(netcfg.Backlog*o.Ports, "the accept queues: net.core.somaxconn of the run's own network")
		}
	}
	var err error
	if p.memory, err = limits.ReadMemory(); err != nil {
		return nil, err
	}
	p.readings = limits.Read(p.host())
	least := ends.share(limits.LeastConnectionBytes)
	if o.NoProfile || o.ThreadPerConnection { // of which two runs open as many, whatever they measure
		least = ends.share(limits.ConnectionBytes)
	}
	for _, fit := range []func() error{p.fitPromises, p.fitCgroup, p.fitPorts, func() error { return p.fitThreads(limits.Host{}) },
		func() error { return p.fitMemory(least) }, func() error { return p.fitLimits(least/2, least/2) },
		func() error { return p.fitOwnThreads(limits.Host{}) }} {
		if err := fit(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Capacity is how many connections a run opens by itself from so many addresses to so many ports, by what one is expected to cost.
func Capacity(ips, ports int) (int, error) {
	o := Defaults()
	o.IPs, o.Ports, o.NoProfile = ips, ports, true
	p, err := NewPlan(o, BothHere())
	if err != nil {
		return 0, err
	}
	return p.Conns, nil
}

// Lower makes it fewer connections, for a reason.
func (p *Plan) Lower(conns int, why string) {
	if conns > 0 && conns < p.Conns {
		p.Conns, p.Capped = conns, why
	}
}

// fitPromises leaves others what they have been promised.
func (p *Plan) fitPromises() error {
	p.memory.AvailableBytes -= min(p.memory.AvailableBytes, p.Ends.share(limits.ConnectionBytes)*uint64(p.Ends.Promised))
	p.Lower(p.Ends.Most, p.Ends.Why)
	return nil
}

// fitPorts holds the connections against the local ports of this host, where it has no network of its own to open them in.
func (p *Plan) fitPorts() error {
	if p.Ends.Here != kernel.RoleClient {
		return nil
	}
	ports, err := load.HostPorts()
	if err != nil {
		return err
	}
	o := &p.Options
	most := o.IPs * o.Ports * len(ports)
	if most >= p.Conns {
		return nil
	}
	where := fmt.Sprintf("net.ipv4.ip_local_port_range, which leaves %d local ports", len(ports))
	if o.Conns != 0 || most == 0 {
		return fmt.Errorf("%d connections from %d addresses to %d server ports need more local ports than %s; lower --conns "+
			"to %d, raise --ips or --ports, or run: sysctl net.ipv4.ip_local_port_range='1024 65535'", p.Conns, o.IPs, o.Ports,
			where, most)
	}
	p.Lower(most, where)
	return nil
}

// fitCgroup leaves what the run itself takes of a memory cgroup, in which its processes are as well.
func (p *Plan) fitCgroup() error {
	if p.memory.Limit == limits.MemAvailable {
		return nil
	}
	if p.memory.AvailableBytes <= ownMemory {
		return fmt.Errorf("a run needs %d MiB for itself and the memory cgroup has %d MiB left (%s); raise that limit, or run outside "+
			"the cgroup", ownMemory>>20, p.memory.AvailableBytes>>20, p.memory.Limit)
	}
	p.memory.AvailableBytes -= ownMemory
	return nil
}

// fitOwnThreads wants room for the threads of the processes themselves.
func (p *Plan) fitOwnThreads(h limits.Host) error {
	return checkOwnThreads(h, p.Ends.inProcesses(), p.Conns)
}

// host is where limits are read. The soft limit on files does not bind a run, and asking for it takes a child process; nor does
// the host's connection tracking, and asking for that takes a datagram.
func (p *Plan) host() limits.Host {
	return limits.Host{SoftFiles: func() (uint64, error) { return limits.NoLimit, nil }, Datagram: func() error { return errNotAsked }}
}

var errNotAsked = errors.New("not asked")

// keepTo lowers the connections to what a limit holds. A number that was asked for is refused.
func (p *Plan) keepTo(row limits.Row) error {
	holds := row.Holds[p.Ends.Here]
	if p.Options.Conns == 0 && holds >= 1 {
		p.Lower(int(holds), fmt.Sprintf("%s: %s is %s", row.Limit, row.Where, row.Amount(row.Now)))
		return nil
	}
	return fmt.Errorf("%d connections need %s of %s (%s) and it is %s; %s", p.Conns, row.Amount(row.Need), row.Limit, row.Where,
		row.Amount(row.Now), remedy(row, holds))
}

// remedy is what can be done about a limit that holds fewer connections than were asked for. What the kernel takes no higher
// value of has no command.
func remedy(row limits.Row, holds uint64) string {
	var ways []string
	if holds >= 1 {
		ways = append(ways, fmt.Sprintf("lower --conns to %d", holds))
	}
	if row.Fix != "" {
		ways = append(ways, "run: "+row.Fix)
	}
	if len(ways) == 0 {
		return "this host can hold none"
	}
	return strings.Join(ways, " or ")
}

// queued is what is booked for the data that the scenario leaves on a connection, 0 where it sends none.
func (p *Plan) queued() uint64 {
	if p.Scenario.Fills() {
		return limits.Filled(p.Options.buffers())
	}
	if !p.Scenario.Sends {
		return 0
	}
	return limits.Booked(p.Options.Payload, !p.Ends.private())
}

// allOf is what a connection takes of the memory, beyond the given bytes of its endpoints.
func (p *Plan) allOf(endpoints uint64) uint64 {
	if p.Options.ThreadPerConnection {
		endpoints += threadBytes
	}
	return endpoints + p.queued()
}

// fitMemory holds the connections against what the host can safely hold at the given bytes for the endpoints of each. A number
// that was asked for is refused, any other lowered.
func (p *Plan) fitMemory(endpoints uint64) error {
	percent, each := p.Options.AllowMemory, p.allOf(endpoints)
	if p.Options.Conns == 0 {
		n, limit := limits.Safe(p.memory, percent, each)
		p.Lower(n, limit)
	}
	return limits.CheckMemory(p.Conns, p.memory, percent, each)
}

// demand is what the connections want of the host at the given bytes of a client and a server endpoint.
func (p *Plan) demand(client, server uint64) limits.Demand {
	o := &p.Options
	return limits.Demand{Conns: uint64(p.Conns), Role: p.Ends.Here, Addresses: uint64(o.IPs), Ports: uint64(o.Ports), ClientBytes: client,
		ServerBytes: server, QueuedBytes: p.queued(), Promised: uint64(p.Ends.Promised)}
}

// fitLimits holds the connections against every limit of the host that binds the run, as connprof check does.
func (p *Plan) fitLimits(client, server uint64) error {
	for _, row := range p.readings.Judge(p.demand(client, server)) {
		if row.BindsRun && row.Verdict == limits.TooLow {
			if err := p.keepTo(row); err != nil {
				return err
			}
		}
	}
	return nil
}

// Replan decides anew, now that the batch has shown what a client and a server endpoint cost on this very kernel. What may be
// open by then stays: a number that nobody asked for is not lowered below it.
func (p *Plan) Replan(client, server uint64) ([]recording.PlanRow, error) {
	open := p.sure()
	if err := p.fitMemory(client + server + userBytes + p.ofServer); err != nil {
		return nil, err
	}
	if err := p.fitLimits(client, server); err != nil {
		return nil, err
	}
	p.Conns = max(p.Conns, open)
	var rows []recording.PlanRow
	for _, row := range p.readings.Judge(p.demand(client, server)) {
		if !row.BindsRun || row.Verdict == limits.Unknown || row.Now == limits.NoLimit {
			continue
		}
		rows = append(rows, recording.PlanRow{Limit: row.Limit, Where: row.Where, Unit: row.Unit, Need: row.Need,
			Have: row.Now, Verdict: string(row.Verdict)})
	}
	return rows, nil
}

// batchConnections are the first connections of a run, whose every allocation is traced.
const batchConnections = 5_000

// dearest is how many times what is expected a connection may cost without those that are sure being more than fit.
const dearest = 2

// sure is how many connections may be opened before it is known what one costs: as many as fit even where each is dear. A number
// that was asked for is refused where it does not fit, and so needs no care.
func (p *Plan) sure() int {
	if p.Options.Conns != 0 {
		return p.Conns
	}
	fit, _ := limits.Safe(p.memory, p.Options.AllowMemory, p.allOf(dearest*p.Ends.share(limits.ConnectionBytes)))
	return max(1, min(p.Conns, fit))
}

func (p *Plan) batchSize() int { return min(p.sure(), batchConnections) }

// samplesWanted is how many stacks are sampled: enough for a stable graph, too few to cost anything.
const samplesWanted = 2_500

// slabAllocsPerConnection is about how many slab allocations both ends of a connection make.
const slabAllocsPerConnection = 30

// minInterval keeps small runs from spending their time on stacks.
const minInterval = 32

// sampleInterval is the mean number of allocations from one sampled stack to the next.
func sampleInterval(conns int) int {
	return max(minInterval, conns*slabAllocsPerConnection/samplesWanted)
}
