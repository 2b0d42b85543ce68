package measure

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/loader"
)

// List is where each endpoint is listed.
type List struct {
	To     io.Writer
	Owners account.Processes
}

// Account ends the trace, walks the endpoints, closes the ledger and writes the account into one machine's part of a recording,
// whose Hooks are there already. List is nil for none.
func (m *Measurement) Account(out *recording.Machine, after account.Snapshot, list *List) error {
	m.others.take()
	if err := m.rest(); err != nil { // before the walk begins
		return err
	}
	sites, _, err := m.sites()
	if err != nil {
		return err
	}
	if err := m.probes.LeaveAllocations(); err != nil {
		return err
	}
	arranged := since(m.left, sites)
	sites = since(m.begun, sites)
	byAddress, err := m.probes.Caches()
	if err != nil {
		return err
	}
	m.others.addCaches(byAddress)
	m.aliases = kernel.Aliases(sysKernelSlab, after.Slabs)
	caches := account.NewCaches(after.Slabs, m.aliases, byAddress, sites, m.symbols)
	counters, err := m.probes.Counters() // before a walk opens sockets of its own, see loader.Walk
	if err != nil {
		return err
	}
	tracked, err := m.tracked()
	if err != nil {
		return err
	}
	traced := sites
	if m.batch != nil {
		traced = m.batch.Sites
	}
	walkSeconds, err := m.walkInto(caches, list, func(l *account.EndpointList) { l.Track(tracked, traced, m.symbols) })
	if err != nil {
		return err
	}
	othersBefore, othersAfter := m.others.taken(out)
	m.ledger.Fill(out, account.Evidence{OtherServes: m.othersServe, OthersBefore: othersBefore, OthersAfter: othersAfter,
		Before: m.before, After: after, Caches: caches, Sites: sites, Batch: m.batch,
		ScenarioSites: arranged, Symbols: m.symbols, SampleInterval: m.config.SampleInterval,
		Tracked: tracked, ClientOpens: int(counters.ClientEstablished), ServerOpens: int(counters.ServerEstablished)})
	out.Cost.WalkSeconds = walkSeconds
	noteUnknownCaches(out)
	return m.fillTrace(out, counters)
}

// Aliases are the names that /proc/slabinfo lists merged caches under, by their own names, as of the last look.
func (m *Measurement) Aliases() map[string]string { return m.aliases }

// Before is the first look at slab memory.
func (m *Measurement) Before() account.Snapshot { return m.before }

// tracked is how many entries connection tracking has, 0 where it is not in the path.
func (m *Measurement) tracked() (int, error) {
	if m.config.Tracked == nil {
		return 0, nil
	}
	return m.config.Tracked()
}

func (m *Measurement) walkInto(caches *account.Caches, list *List, track func(*account.EndpointList)) (seconds float64, err error) {
	visit := func(e *kernel.Endpoint) error {
		m.ledger.Visit(e, caches)
		return nil
	}
	begun := time.Now()
	if list != nil {
		rows := account.NewEndpointList(list.To, m.ledger, caches, list.Owners)
		track(rows)
		defer func() { err = errors.Join(err, rows.Flush()) }()
		if err := m.Walk(rows.Count); err != nil {
			return 0, err
		}
		visit = rows.Visit
	}
	err = m.Walk(func(e *kernel.Endpoint) error {
		if err := visit(e); err != nil {
			return err
		}
		if m.standing[e.Sock] {
			m.ledger.Standing(e, caches)
		}
		return nil
	})
	return time.Since(begun).Seconds(), err
}

func noteUnknownCaches(out *recording.Machine) {
	for _, row := range out.Endpoints {
		for _, o := range row.Objects {
			if o.Cache == "" {
				out.Notes = append(out.Notes, fmt.Sprintf("no slab cache is known for the %d objects of type %s (%s): their bytes "+
					"are left out", o.Count, o.Type, row.Role))
			}
		}
	}
}

// fillTrace writes down what the probes counted and lost, and what they cost.
func (m *Measurement) fillTrace(out *recording.Machine, c loader.Counters) error {
	sites, full, err := m.sites()
	if err != nil {
		return err
	}
	out.Trace.FreeMisses = c.FreeMisses
	out.Trace.Connects = int(c.SynSent)
	out.Losses = recording.Losses{RingFull: c.RingFull, MapFull: c.MapFull + full, RecursionMisses: c.RecursionMisses,
		StackFailures: c.StackFailures, WalkSkipped: m.ledger.Skipped()}
	allocations := uint64(0)
	for _, s := range sites {
		allocations += s.Count
	}
	for i := range out.Hooks {
		h := &out.Hooks[i]
		h.Hits = hits(h, c, allocations, out)
		if h.Name == kernel.HookAccept && h.Kind != kernel.KindTracepoint {
			out.Losses.AcceptMisses = m.ledger.Unclaimed()
		}
	}
	out.Cost.Events = c.Events
	out.Cost.ProfilerRSSBytes = kernel.ResidentBytes(os.Getpid())
	out.Cost.BPFMapBytes, err = m.probes.MapBytes()
	return err
}

// hits is how often a hook fired. Where another hook stands in for one, it is what that one has counted of its kind.
func hits(h *recording.Hook, c loader.Counters, allocations uint64, out *recording.Machine) uint64 {
	standIn := h.Kind == kernel.KindTracepoint
	switch h.Name {
	case kernel.HookConnect:
		if standIn {
			return c.SynSent
		}
		return c.ConnectCalls
	case kernel.HookAccept:
		if standIn {
			return c.ServerEstablished
		}
		return c.Accepts
	case kernel.HookState:
		return c.StateChanges
	case kernel.HookDestroy:
		return c.Destroyed
	case kernel.HookSlab:
		return allocations
	case kernel.HookWalk:
		n := uint64(0)
		for _, e := range out.Endpoints {
			n += uint64(e.Count)
		}
		return n
	}
	return 0
}

// Calibration is what the allocation sites have told so far. It needs the slab hook, and no baseline.
func (m *Measurement) Calibration() (account.Calibration, error) {
	slabs, err := readSlabinfo()
	if err != nil {
		return account.Calibration{}, err
	}
	sites, _, err := m.sites()
	if err != nil {
		return account.Calibration{}, err
	}
	byAddress, err := m.probes.Caches()
	if err != nil {
		return account.Calibration{}, err
	}
	return account.NewCaches(slabs, kernel.Aliases(sysKernelSlab, slabs), byAddress, sites, m.symbols).Calibration(), nil
}
