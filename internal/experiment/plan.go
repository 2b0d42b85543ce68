package experiment

import (
	"fmt"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
)

// queuedFactor allows for what the kernel keeps around a byte that is queued.
const queuedFactor = 4

// userBytes is what the load processes and the profiler keep for a connection themselves.
const userBytes = 400

// decideConns settles how many connections there will be, before it is known what one costs on this kernel: what cannot
// fit at the least it may cost is refused, the rest is for replan. Without a profiler it is the last word.
func (r *runner) decideConns() error {
	o := &r.options
	var err error
	if r.memory, err = limits.ReadMemory(); err != nil {
		return err
	}
	if r.files, err = limits.ReadFileTable(); err != nil {
		return err
	}
	scenario, ok := load.FindScenario(o.Scenario)
	if !ok {
		return fmt.Errorf("there is no scenario %q", o.Scenario)
	}
	r.scenario = scenario
	r.files.Each = r.between.files()
	each := uint64(limits.LeastConnectionBytes)
	if o.NoProfile {
		each = limits.ConnectionBytes
	}
	r.conns = o.Conns
	if r.conns == 0 {
		r.conns = o.IPs * o.Ports * DefaultPerTuple
	}
	if err := r.between.bound(r); err != nil {
		return err
	}
	each = r.between.share(each)
	if err := r.fitThreads(limits.Host{}); err != nil {
		return err
	}
	if err := r.fit(each); err != nil {
		return err
	}
	if err := r.fitWatches(); err != nil {
		return err
	}
	return limits.CheckFiles(r.conns, r.files)
}

// fitWatches holds the connections against the limit on epoll sets, which the first of them may already meet.
func (r *runner) fitWatches() error {
	for _, row := range limits.Judge(r.host(), limits.Demand{Conns: uint64(r.conns), Role: r.between.role()}) {
		if row.Limit == "epoll watches" && row.Verdict == limits.TooLow {
			return r.keepTo(row)
		}
	}
	return nil
}

// host is where limits are read. The soft limit on files does not bind a run, and asking for it takes a child process.
func (r *runner) host() limits.Host {
	return limits.Host{SoftFiles: func() (uint64, error) { return limits.NoLimit, nil }}
}

// keepTo lowers the connections to what a limit holds. A number that was asked for is refused.
func (r *runner) keepTo(row limits.Row) error {
	holds := row.Holds[r.between.role()]
	if r.options.Conns == 0 && holds >= 1 {
		r.conns, r.capped = min(r.conns, int(holds)), fmt.Sprintf("%s: %s is %d", row.Limit, row.Where, row.Now)
		return nil
	}
	fix := "run: " + row.Fix
	if holds >= 1 {
		fix = fmt.Sprintf("lower --conns to %d or %s", holds, fix)
	}
	return fmt.Errorf("%d connections need %d of %s (%s) and it is %d; %s", r.conns, row.Need, row.Limit, row.Where, row.Now, fix)
}

// fit holds the connections against what the host can safely hold at the given bytes for each. A number that was asked
// for is refused, any other lowered.
func (r *runner) fit(each uint64) error {
	percent := r.options.AllowMemory
	if r.options.ThreadPerConnection {
		each += threadBytes
	}
	if r.scenario.Sends {
		each += queuedFactor * uint64(r.options.Payload)
	}
	if r.options.Conns == 0 {
		n, limit := limits.Safe(r.memory, percent, r.files, each)
		if n >= 1 && n < r.conns {
			r.conns, r.capped = n, limit
		}
	}
	return limits.CheckMemory(r.conns, r.memory, percent, each)
}

// replan decides anew, now that the batch has shown what a connection costs on this very kernel.
func (r *runner) replan() error {
	client, server, err := r.batchCost()
	if err != nil {
		return err
	}
	r.machine.Load.ExpectedBytes = client + server
	err = r.fit(client + server + userBytes)
	if err == nil {
		err = r.judge(client, server)
	}
	if err != nil {
		return fmt.Errorf("after the first %d: %w", r.batch.Connections, err)
	}
	r.machine.Load.Requested, r.machine.Load.Capped = r.conns, r.capped
	r.engine.Limit(r.conns)
	return nil
}

// batchCost is the slab page bytes of a client and a server endpoint of the batch.
func (r *runner) batchCost() (client, server uint64, err error) {
	slabs, err := kernel.ReadSlabinfo()
	if err != nil {
		return 0, 0, fmt.Errorf("read slab caches: %w", err)
	}
	byAddress, err := r.probes.Caches()
	if err != nil {
		return 0, 0, err
	}
	caches := account.NewCaches(slabs, r.aliases, byAddress, r.batch.Sites, r.symbols)
	client, server = r.batch.EndpointBytes(caches)
	return client, server, nil
}

// judge holds the run against every limit of the host that binds it, as connprof check does, and writes the plan down.
func (r *runner) judge(client, server uint64) error {
	o := &r.options
	demand := limits.Demand{Conns: uint64(r.conns), Role: r.between.role(), Addresses: uint64(o.IPs), Ports: uint64(o.Ports),
		ClientBytes: client, ServerBytes: server}
	for _, row := range limits.Judge(r.host(), demand) {
		if !row.BindsRun || row.Verdict == limits.Unknown || row.Now == limits.NoLimit {
			continue
		}
		if row.Verdict == limits.TooLow {
			if err := r.keepTo(row); err != nil {
				return err
			}
		}
		r.machine.Plan = append(r.machine.Plan, recording.PlanRow{Limit: row.Limit, Where: row.Where, Unit: row.Unit,
			Need: row.Need, Have: row.Now, Verdict: string(row.Verdict)})
	}
	return nil
}
