// Package measure is what an experiment and a look at a running host have in common: the probes are put on, what they report
// is drained into a ledger, slab memory is read before and after, endpoints are walked, and the ledger is closed and held
// against the kernel's figures. Whoever opens the connections does so between Start and Account; this package does not know.
// It imports loader, account, recording and kernel. What comes out is one machine's part of a recording.
package measure

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/loader"
)

// Config says whose connections are measured, and how closely.
type Config struct {
	// Networks are the network namespaces that are measured.
	Networks []loader.Netns
	// Ports and Owns tell the endpoints that count from others of the namespace. Without Owns all do.
	Ports loader.Ports
	Owns  func(*kernel.Endpoint) bool
	// Services are addresses and ports at which servers are known to listen: what leads there is a client's.
	Services []netip.AddrPort
	// Hooks is which hooks are put on, and Force the one rung that they may have; KindAuto or empty tries all.
	Hooks loader.HookSet
	Force kernel.HookKind
	// Endpoints is about how many there will be, and Batch how many connections TakeBatch will look at.
	Endpoints, Batch int
	// Others has the host's other endpoints counted, too, before and after.
	Others bool
	// Tracked is asked how many entries connection tracking has in the networks, when the endpoints are walked; nil where it is not in
	// the path.
	Tracked func() (int, error)
	// Queues has walks tell what lies in the queues of endpoints, for Queues.
	Queues bool
	// SampleInterval is the mean number of slab allocations for each sampled stack.
	SampleInterval int
}

func (c Config) scope() loader.Scope {
	var inodes []uint32
	for _, n := range c.Networks {
		inodes = append(inodes, n.Inode())
	}
	return loader.InNetns(inodes...)
}

// Measurement is one measurement under way. Its methods are called one after the other.
type Measurement struct {
	config  Config
	probes  *loader.Probes
	ledger  *account.Ledger
	symbols *kernel.Symbols
	stop    context.CancelFunc
	drained chan error
	others  *others // nil where they are not counted
	// othersServe says that OthersServe was called.
	othersServe bool

	before account.Snapshot
	// standing are the endpoints that were there at that moment, by address of the struct sock.
	standing map[uint64]bool
	aliases  map[string]string // of slab caches
	begun    []kernel.Site     // counted when the baseline was taken
	// destroyed is the sockets that were gone by then, such as those that the load asks the kernel with what it can do.
	destroyed uint64
	left      []kernel.Site  // counted when the slab hook was last taken off
	room      *account.Batch // that the batch is put into
	batch     *account.Batch // nil until it is taken
	// unsettled is why the counts of slab caches could not be settled.
	unsettled error
}

// Start puts the probes on. The kernel's symbols are read at the same time: where they are hidden, nothing need be opened.
func Start(c Config) (*Measurement, error) {
	m := &Measurement{config: c, ledger: account.NewLedger(0), drained: make(chan error, 1)}
	for _, n := range c.Networks {
		for _, at := range c.Services {
			m.ledger.Service(n.Inode(), at)
		}
	}
	read := make(chan error, 1)
	go func() {
		var err error
		if m.symbols, err = kernel.ReadSymbols(); err != nil {
			err = fmt.Errorf("read kernel symbols: %w", err)
		}
		read <- err
	}()
	if c.Others {
		m.others = countOthers(m)
	}
	probes, err := loader.Load(loader.Config{Scope: c.scope(), Hooks: c.Hooks, Force: c.Force, SampleInterval: c.SampleInterval,
		Ports: c.Ports, Queues: c.Queues})
	if err := errors.Join(err, <-read); err != nil {
		if probes != nil {
			_ = probes.Close()
		}
		m.others.close()
		return nil, err
	}
	m.probes = probes
	m.room = account.NewBatch(c.Batch)
	if c.Hooks != loader.WalkOnly { // which reports nothing by itself
		m.ledger.Expect(m.steps())
		ctx, cancel := context.WithCancel(context.Background())
		m.stop = cancel
		go func() { m.drained <- probes.Drain(ctx, m.ledger) }()
	}
	return m, nil
}

// steps is about how many will be reported of the endpoints: that each has opened and, of those that are accepted, who took them.
func (m *Measurement) steps() int {
	n := m.config.Endpoints
	for _, h := range m.probes.Hooks() {
		if h.Name == kernel.HookAccept && h.Kind != kernel.KindTracepoint {
			n += m.config.Endpoints / 2
		}
	}
	return n
}

// sites are the call sites counted so far, and how many events found no place among them; none without the slab hook.
func (m *Measurement) sites() ([]kernel.Site, uint64, error) {
	if m.config.Hooks != loader.Full {
		return nil, 0, nil
	}
	return m.probes.Sites()
}

// Hooks lists the hook points, each with the rung that it got.
func (m *Measurement) Hooks() []recording.Hook {
	list := []recording.Hook{}
	for _, h := range m.probes.Hooks() {
		list = append(list, recording.Hook{Name: h.Name, Function: h.Function, Kind: h.Kind, Attached: h.Attached, Note: h.Note})
	}
	return list
}

// SetRoles says which processes open and accept the connections, 0 where one is not on this host. Where others use the
// namespace as well (only), nobody else's allocations count, but for the vectors of slabs made in softirqs.
func (m *Measurement) SetRoles(client, server int, only bool) error {
	if err := m.probes.SetRoles(client, server); err != nil || !only {
		return err
	}
	return m.probes.CountVectors(m.symbols.Range(kernel.Types[kernel.SlabObjExt].Sites...))
}

// OthersServe says that every other task of the networks is the server's, a program which does more than accept.
func (m *Measurement) OthersServe() error {
	m.othersServe = true
	return m.probes.OthersServe()
}

// SampleAccepted has stacks sampled of what softirqs allocate for accepted ends. Their socks' cache is that of the listeners.
func (m *Measurement) SampleAccepted() error {
	var cache uint64
	err := m.Walk(func(e *kernel.Endpoint) error {
		cache = e.Cache
		return nil
	})
	if err != nil || cache == 0 {
		return err
	}
	return m.probes.SampleSoftirqs(cache)
}

// Baseline takes the first look at slab memory: the growth is counted from here on.
func (m *Measurement) Baseline() (account.Snapshot, error) {
	m.standing = map[uint64]bool{}
	if err := m.Walk(func(e *kernel.Endpoint) error {
		m.standing[e.Sock] = true
		return nil
	}); err != nil {
		return account.Snapshot{}, err
	}
	// Reading them fills the inode and dentry caches, the first time after boot.
	slabs, err := readSlabinfo()
	if err != nil {
		return account.Snapshot{}, err
	}
	m.aliases = kernel.Aliases(sysKernelSlab, slabs)
	m.others.take()
	if m.before, err = ReadSlabs(); err != nil {
		return account.Snapshot{}, err
	}
	if m.stop != nil {
		counters, err := m.probes.Counters()
		if err != nil {
			return account.Snapshot{}, err
		}
		m.destroyed = counters.Destroyed
	}
	m.begun, _, err = m.sites()
	m.left = m.begun
	return m.before, err
}

// Walk visits the endpoints that count.
func (m *Measurement) Walk(visit func(*kernel.Endpoint) error) error {
	return m.probes.Walk(func(e *kernel.Endpoint) error {
		if m.config.Owns != nil && !m.config.Owns(e) {
			return nil
		}
		return visit(e)
	}, m.config.Networks...)
}

// End is a role in a state.
type End struct {
	Role  kernel.Role
	State string
}

// Count walks the endpoints and counts them.
func (m *Measurement) Count() (map[End]int, error) {
	ends := map[End]int{}
	err := m.Walk(func(e *kernel.Endpoint) error {
		ends[End{m.ledger.Role(e), e.State.String()}]++
		return nil
	})
	return ends, err
}

// Queued walks the endpoints and counts the connections that nobody has accepted. It asks nothing of the ledger: the trace may be on.
func (m *Measurement) Queued() (int, error) {
	n := 0
	err := m.Walk(func(e *kernel.Endpoint) error {
		if e.Objects[kernel.TCPSock] > 0 && e.Unaccepted() {
			n++
		}
		return nil
	})
	return n, err
}

// TakeBatch looks closely at what has been opened so far, which is at rest, and takes the slab hook off: what follows is too
// dear to be traced so closely.
func (m *Measurement) TakeBatch(connections int) error {
	b := m.room
	b.Connections = connections
	sites, _, err := m.sites()
	if err != nil {
		return err
	}
	b.Sites = since(m.begun, sites)
	counters, err := m.probes.Counters()
	if err != nil {
		return err
	}
	b.ServerOpens, b.Destroyed = int(counters.ServerEstablished), int(counters.Destroyed-m.destroyed)
	if err := m.Walk(b.Visit); err != nil {
		return err
	}
	m.batch = b
	return nil
}

// LeaveAllocations takes the slab hook off, and notes what it has counted.
func (m *Measurement) LeaveAllocations() (err error) {
	if err := m.probes.LeaveAllocations(); err != nil {
		return err
	}
	m.left, _, err = m.sites()
	return err
}

// EndpointBytes is the slab page bytes of a connecting and an accepted end of the batch.
func (m *Measurement) EndpointBytes() (client, server uint64, err error) {
	slabs, err := readSlabinfo()
	if err != nil {
		return 0, 0, err
	}
	byAddress, err := m.probes.Caches()
	if err != nil {
		return 0, 0, err
	}
	client, server = m.batch.EndpointBytes(account.NewCaches(slabs, m.aliases, byAddress, m.batch.Sites, m.symbols))
	return client, server, nil
}

// TraceArranging has what is allocated from now on traced and sampled, as what brings the connections into a scenario.
func (m *Measurement) TraceArranging(sampleInterval int) error {
	time.Sleep(loader.DrainDelay) // the batch's samples are in the ledger by then
	m.ledger.Arranging()
	return m.probes.TraceAllocations(sampleInterval)
}

// Close takes the probes off. The kernel does the same if this process dies before.
func (m *Measurement) Close() {
	_ = m.rest() // an account has told of it; without one nothing that the trace lacks is told
	m.others.close()
	_ = m.probes.Close() // detached in any case: the descriptors close with the process
}

// rest ends the trace. It returns when all that was reported is in the ledger.
func (m *Measurement) rest() error {
	if m.stop == nil {
		return nil
	}
	m.stop()
	m.stop = nil
	return <-m.drained
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
