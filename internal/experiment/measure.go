package experiment

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/loader"
)

// settle is how long the kernel gets to finish what the last handshakes left to softirqs and RCU. What a scenario has
// closed is freed later and in batches: then slab memory is watched until it no longer falls.
const (
	settle     = 100 * time.Millisecond
	settleStep = 300 * time.Millisecond
	settleMost = 5 * time.Second
)

func (r *runner) settle() {
	time.Sleep(settle)
	if !r.scenario.Closes() {
		return
	}
	last := slabNow()
	for end := time.Now().Add(settleMost); time.Now().Before(end); {
		time.Sleep(settleStep)
		now := slabNow()
		if now >= last {
			return
		}
		last = now
	}
}

// slabNow is Slab in /proc/meminfo, 0 where it cannot be read: snapshot reports that.
func slabNow() uint64 {
	info, _ := kernel.ReadMeminfo()
	return info["Slab"]
}

// measure makes the account of what is up.
func (r *runner) measure() error {
	r.fillLoad()
	if r.probes == nil {
		return nil
	}
	r.settle()
	after, err := snapshot()
	if err != nil {
		return err
	}
	// The trace is at rest before the walk begins.
	r.stopDrain()
	err = <-r.drained
	r.stopDrain = nil
	if err != nil {
		return err
	}
	err = r.account(after)
	if last := r.engine.Progress().Last; last > 0 {
		r.machine.Cost.AccountSeconds = (load.Monotonic() - last).Seconds()
	}
	return err
}

// account walks the endpoints and closes the ledger.
func (r *runner) account(after account.Snapshot) error {
	sites, _, err := r.probes.Sites()
	if err != nil {
		return err
	}
	if err := r.probes.LeaveAllocations(); err != nil {
		return err
	}
	arranged := since(r.sitesAt1, sites)
	sites = since(r.sitesAt0, sites)
	byAddress, err := r.probes.Caches()
	if err != nil {
		return err
	}
	aliases := kernel.Aliases("/sys/kernel/slab", after.Slabs)
	caches := account.NewCaches(after.Slabs, aliases, byAddress, sites, r.symbols)
	counters, err := r.probes.Counters() // before a walk opens sockets of its own, see loader.Walk
	if err != nil {
		return err
	}
	walkSeconds, err := r.walk(caches)
	if err != nil {
		return err
	}
	r.ledger.Fill(r.machine, account.Evidence{Before: r.before, After: after, Caches: caches, Sites: sites,
		Batch: r.batch, ScenarioSites: arranged, Symbols: r.symbols, SampleInterval: sampleInterval(r.batchSize()), ClientOpens: int(counters.ClientEstablished), ServerOpens: int(counters.ServerEstablished)})
	if r.options.ThreadPerConnection {
		account.FillThreads(r.machine, r.before, after, listedCaches(threadCaches, aliases))
	}
	r.machine.Cost.WalkSeconds = walkSeconds
	for _, row := range r.machine.Endpoints {
		for _, o := range row.Objects {
			if o.Cache == "" {
				r.note(fmt.Sprintf("no slab cache is known for the %d objects of type %s (%s): their bytes are left out",
					o.Count, o.Type, row.Role))
			}
		}
	}
	return r.fillTrace(counters)
}

func (r *runner) walk(caches *account.Caches) (seconds float64, err error) {
	visit := func(e *kernel.Endpoint) error {
		r.ledger.Visit(e, caches)
		return nil
	}
	if r.options.Endpoints != nil {
		list := account.NewEndpointList(r.options.Endpoints, r.ledger, caches, r.commands())
		defer func() { err = errors.Join(err, list.Flush()) }()
		visit = list.Visit
	}
	servers := r.loadConfig()
	for _, port := range servers.Ports {
		r.ledger.Service(r.network.Inode(), netip.AddrPortFrom(servers.Server, port))
	}
	begun := time.Now()
	err = r.walkOwn(visit)
	return time.Since(begun).Seconds(), err
}

// commands names the load processes, which no longer need to be looked up by then.
func (r *runner) commands() account.Processes {
	client, server := r.engine.PIDs()
	return account.Processes{ClientPID: client, ServerPID: server, Comm: func(pid int) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}}
}

// since is what was counted after the first reading.
func since(before, now []kernel.Site) []kernel.Site {
	at := map[kernel.Site]uint64{}
	for _, s := range before {
		key := s
		key.Count = 0
		at[key] = s.Count
	}
	var grown []kernel.Site
	for _, s := range now {
		key := s
		key.Count = 0
		if s.Count -= at[key]; s.Count > 0 {
			grown = append(grown, s)
		}
	}
	return grown
}

func (r *runner) note(text string) { r.machine.Notes = append(r.machine.Notes, text) }

// fillLoad writes down what the load engine did.
func (r *runner) fillLoad() {
	p := r.engine.Progress()
	l := r.machine.Load
	l.Established, l.Failed = r.up(p), p.Failed
	r.recording.Interrupted = r.interrupt
	if p.Last > p.First && p.First > 0 {
		l.ConnectSeconds = (p.Last - p.First).Seconds()
		l.ConnectsPerSecond = float64(p.Established) / l.ConnectSeconds
	}
	if p.First > 0 {
		sinceFirst := load.Monotonic() - p.First
		l.FirstConnectSeconds = (time.Since(r.options.Started) - sinceFirst).Seconds()
	}
	l.Failures = []recording.Failure{}
	for _, f := range r.engine.Failures() {
		l.Failures = append(l.Failures, recording.Failure{Step: f.Step, Error: f.Errno.Error(), Count: f.Count})
	}
	if n := r.engine.PortsInUse(); n > 0 {
		r.note(fmt.Sprintf("%d attempts met a local port in use and took another", n))
	}
	client, server := r.engine.PIDs()
	l.ProcessRSSBytes = residentBytes(client) + residentBytes(server)
	r.fillServer()
}

// up is how many connections are up. The accepting end counts its own: the client's last word may be on its way, or lost. So
// does a connecting end that no longer hears of the other.
func (r *runner) up(p load.Progress) int {
	switch {
	case r.between.elsewhere(kernel.RoleClient):
		return p.Accepted
	case r.far.err() != nil:
		return p.Established
	}
	return p.Up()
}

// fillTrace writes down what the probes counted and lost, and what they cost.
func (r *runner) fillTrace(c loader.Counters) error {
	sites, full, err := r.probes.Sites()
	if err != nil {
		return err
	}
	rec := r.machine
	rec.Trace.FreeMisses = c.FreeMisses
	rec.Losses = recording.Losses{RingFull: c.RingFull, MapFull: c.MapFull + full, RecursionMisses: c.RecursionMisses,
		StackFailures: c.StackFailures, WalkSkipped: r.ledger.Skipped()}
	rec.Trace.Connects = int(c.SynSent)
	hits := map[string]uint64{"connect": c.ConnectCalls, "accept": c.Accepts, "state": c.StateChanges,
		"destroy": c.Destroyed}
	for _, s := range sites {
		hits["slab"] += s.Count
	}
	for i := range rec.Hooks {
		h := &rec.Hooks[i]
		h.Hits = hits[h.Name]
		if h.Name == "accept" && h.Kind != loader.Tracepoint {
			rec.Losses.AcceptMisses = r.ledger.Unclaimed()
		}
		switch {
		case h.Name == "connect" && h.Kind == "tracepoint":
			h.Hits = c.SynSent
		case h.Name == "accept" && h.Kind == "tracepoint":
			h.Hits = c.ServerEstablished
		case h.Name == "walk":
			for _, e := range rec.Endpoints {
				h.Hits += uint64(e.Count)
			}
		}
	}
	rec.Cost.Events = c.Events
	rec.Cost.ProfilerRSSBytes = residentBytes(os.Getpid())
	rec.Cost.BPFMapBytes, err = r.probes.MapBytes()
	r.noteDoubts()
	return err
}

// noteDoubts writes down what limits the figures.
func (r *runner) noteDoubts() {
	rec := r.machine
	for _, end := range []struct {
		role  kernel.Role
		state string
	}{{kernel.RoleClient, r.scenario.Client}, {kernel.RoleServer, r.scenario.Server}} {
		if r.between.elsewhere(end.role) {
			continue
		}
		role, state := end.role, end.state
		if walked := endpointsIn(rec, role, state); state != "" && walked != rec.Load.Established {
			r.note(fmt.Sprintf("the load engine had %d connections up and the walk found %d %s endpoints in %s",
				rec.Load.Established, walked, role, state))
			rec.Load.Established = min(rec.Load.Established, walked)
		}
	}
	if r.others.company() {
		r.note("another connprof ran at the same time: its memory is part of the slab growth, not of the account")
	}
}

func endpointsIn(rec *recording.Machine, role kernel.Role, state string) int {
	n := 0
	for _, row := range rec.Endpoints {
		if row.Role == role && row.State == state {
			n += row.Count
		}
	}
	return n
}

// residentBytes is VmRSS of a process, 0 when it is gone.
func residentBytes(pid int) uint64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}

// hold keeps the connections open for the time asked for and checks at its end that all still are.
func (r *runner) hold() error {
	if r.options.Hold <= 0 || r.interrupt != "" {
		return nil
	}
	begun := time.Now()
	select {
	case <-time.After(r.options.Hold):
	case <-r.options.Stop:
	case <-r.options.Abort:
		return nil
	case <-r.engine.Ended():
		return fmt.Errorf("while the connections were held: %w", r.engine.Err())
	case <-r.far.gone():
		return fmt.Errorf("while the connections were held: %w", r.far.err())
	}
	l := r.machine.Load
	l.HoldSeconds = time.Since(begun).Seconds()
	still, err := r.stillUp()
	if err != nil {
		return err
	}
	l.LostInHold = l.Established - still
	if l.LostInHold != 0 {
		return fmt.Errorf("%d of %d connections were lost while they were held, for %.1f s", l.LostInHold, l.Established,
			l.HoldSeconds)
	}
	return nil
}

// stillUp counts the connections that are in their scenario's states, by a walk where there are probes.
func (r *runner) stillUp() (int, error) {
	if r.probes == nil {
		p := r.engine.Progress()
		return p.Up() - p.Lost, nil
	}
	type end struct {
		role  kernel.Role
		state string
	}
	ends := map[end]int{}
	err := r.walkOwn(func(e *kernel.Endpoint) error {
		ends[end{r.ledger.Role(e), e.State.String()}]++
		return nil
	})
	clients, servers := ends[end{kernel.RoleClient, r.scenario.Client}], ends[end{kernel.RoleServer, r.scenario.Server}]
	switch s := r.scenario; {
	case s.Listens:
		return ends[end{kernel.RoleListener, kernel.StateListen.String()}], err
	case s.Server == "" || r.between.elsewhere(kernel.RoleServer):
		return clients, err
	case r.between.elsewhere(kernel.RoleClient):
		return servers, err
	default:
		return min(clients, servers), err
	}
}
