package experiment

import (
	"fmt"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
)

// Plan is what is going to be opened, and where.
type Plan struct {
	Options  Options
	Ends     *Ends
	Scenario load.Scenario
	Conns    int
	Capped   string // the limit that set Conns, where no number was asked for

	memory limits.Memory
	files  limits.FileTable
	// compares says that this is one of two runs with different servers; other is the first of the two.
	compares bool
	other    *recording.Comparison
}

// queuedFactor allows for what the kernel keeps around a byte that is queued.
const queuedFactor = 4

// userBytes is what the load processes and the profiler keep for a connection themselves.
const userBytes = 400

// NewPlan decides how many connections there will be, before it is known what one costs on this kernel. What cannot fit
// at the least it may cost is refused; the rest is for Replan. Without a profile it is the last word.
func NewPlan(o Options, ends *Ends) (*Plan, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	p := &Plan{Options: o, Ends: ends, Conns: o.Conns}
	p.Scenario, _ = load.FindScenario(o.Scenario)
	if p.Conns == 0 {
		p.Conns = o.IPs * o.Ports * perTuple
	}
	var err error
	if p.memory, err = limits.ReadMemory(); err != nil {
		return nil, err
	}
	if p.files, err = limits.ReadFileTable(); err != nil {
		return nil, err
	}
	p.files.Each = ends.files()
	each := uint64(limits.LeastConnectionBytes)
	if o.NoProfile {
		each = limits.ConnectionBytes
	}
	each = ends.share(each)
	for _, fit := range []func() error{p.fitPromises, p.fitPorts, func() error { return p.fitThreads(limits.Host{}) }, func() error { return p.fitMemory(each) },
		p.fitWatches, func() error { return p.fitOwnThreads(limits.Host{}) }} {
		if err := fit(); err != nil {
			return nil, err
		}
	}
	return p, limits.CheckFiles(p.Conns, p.files)
}

// Lower makes it fewer connections, for a reason.
func (p *Plan) Lower(conns int, why string) {
	if conns > 0 && conns < p.Conns {
		p.Conns, p.Capped = conns, why
	}
}

// fitPromises leaves others what they have been promised.
func (p *Plan) fitPromises() error {
	promised := uint64(p.Ends.Promised)
	p.files.Used += promised
	p.memory.AvailableBytes -= min(p.memory.AvailableBytes, p.Ends.share(limits.ConnectionBytes)*promised)
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

// fitWatches holds the connections against the limit on epoll sets, which the first of them may already meet.
func (p *Plan) fitWatches() error {
	for _, row := range limits.Judge(p.host(), limits.Demand{Conns: uint64(p.Conns), Role: p.Ends.Here}) {
		if row.Limit == "epoll watches" && row.Verdict == limits.TooLow {
			return p.keepTo(row)
		}
	}
	return nil
}

// fitOwnThreads wants room for the threads of the processes themselves.
func (p *Plan) fitOwnThreads(h limits.Host) error {
	return checkOwnThreads(h, p.Ends.inProcesses(), p.Conns)
}

// host is where limits are read. The soft limit on files does not bind a run, and asking for it takes a child process.
func (p *Plan) host() limits.Host {
	return limits.Host{SoftFiles: func() (uint64, error) { return limits.NoLimit, nil }}
}

// keepTo lowers the connections to what a limit holds. A number that was asked for is refused.
func (p *Plan) keepTo(row limits.Row) error {
	holds := row.Holds[p.Ends.Here]
	if p.Options.Conns == 0 && holds >= 1 {
		p.Conns, p.Capped = min(p.Conns, int(holds)), fmt.Sprintf("%s: %s is %d", row.Limit, row.Where, row.Now)
		return nil
	}
	fix := "run: " + row.Fix
	if holds >= 1 {
		fix = fmt.Sprintf("lower --conns to %d or %s", holds, fix)
	}
	return fmt.Errorf("%d connections need %d of %s (%s) and it is %d; %s", p.Conns, row.Need, row.Limit, row.Where, row.Now, fix)
}

// fitMemory holds the connections against what the host can safely hold at the given bytes for each. A number that was
// asked for is refused, any other lowered.
func (p *Plan) fitMemory(each uint64) error {
	percent := p.Options.AllowMemory
	if p.Options.ThreadPerConnection {
		each += threadBytes
	}
	if p.Scenario.Sends {
		each += queuedFactor * uint64(p.Options.Payload)
	}
	if p.Options.Conns == 0 {
		n, limit := limits.Safe(p.memory, percent, p.files, each)
		p.Lower(n, limit)
	}
	return limits.CheckMemory(p.Conns, p.memory, percent, each)
}

// Replan decides anew, now that the batch has shown what a client and a server endpoint cost on this very kernel: by the
// memory, and by every other limit of the host that binds the run, as connprof check does.
func (p *Plan) Replan(client, server uint64) ([]recording.PlanRow, error) {
	if err := p.fitMemory(client + server + userBytes); err != nil {
		return nil, err
	}
	o := &p.Options
	demand := limits.Demand{Conns: uint64(p.Conns), Role: p.Ends.Here, Addresses: uint64(o.IPs), Ports: uint64(o.Ports),
		ClientBytes: client, ServerBytes: server}
	var rows []recording.PlanRow
	for _, row := range limits.Judge(p.host(), demand) {
		if !row.BindsRun || row.Verdict == limits.Unknown || row.Now == limits.NoLimit {
			continue
		}
		if row.Verdict == limits.TooLow {
			if err := p.keepTo(row); err != nil {
				return nil, err
			}
		}
		rows = append(rows, recording.PlanRow{Limit: row.Limit, Where: row.Where, Unit: row.Unit, Need: row.Need,
			Have: row.Now, Verdict: string(row.Verdict)})
	}
	return rows, nil
}

// batchConnections are the first connections of a run, whose every allocation is traced.
const batchConnections = 5_000

func (p *Plan) batchSize() int { return min(p.Conns, batchConnections) }

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
