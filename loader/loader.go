// Package loader puts the programs of bpf into the kernel, attaches each hook by the best rung of its ladder,
// drains the ring and runs the walks. What comes out are the plain types of package kernel; it imports bpf and
// kernel and knows nothing of load, accounts or reports.
package loader

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"

	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

// DefaultRingBytes holds about a second of events at the highest rate measured.
const DefaultRingBytes = 4 << 20

// Config says what to measure.
type Config struct {
	// Hooks is which hooks are loaded. The zero value is all of them.
	Hooks HookSet
	// Force is the one rung that connect and accept may have, of kernel.HookChoices. KindAuto or empty tries all.
	Force kernel.HookKind
	// Scope is the network namespaces whose sockets and tasks count.
	Scope Scope
	// Ports narrows that to some endpoints and to the tasks of SetRoles, in a namespace that others use as well.
	Ports Ports
	// RingBytes is the size of the event ring, a power of two and a multiple of the page size.
	RingBytes int
	// SampleInterval is the mean number of slab allocations for each sampled stack; 0 samples none. It holds until
	// TraceAllocations sets another.
	SampleInterval int
	// Live has walks fill Endpoint.Live, and makes OpenFiles, Namespaces, WalkAll and CPUPages available.
	Live bool
	// Queues has walks fill Endpoint.Live, and no more than that.
	Queues bool
	// AtOnce has walks not give way to other programs: what they count is held against figures of the same moment.
	AtOnce bool
	// Asked has walks follow what hangs on these endpoints alone.
	Asked Asked
	// Opens has the programs loaded that tell who opens connections; nil: none. They count in no other set's counters.
	Opens *Opens

	cacheEntries int // how many slab caches are remembered; 0: as many as the programs say
}

// Ports are the server ports of the endpoints that count.
type Ports struct {
	Side      PortsSide
	Low, High uint16 // both included
}

// PortsSide is which of an endpoint's ports is looked at.
type PortsSide = bpf.StatePortSide

// The sides: none, so that all endpoints count; the server's end is here; the client's end is.
const (
	AllPorts    = bpf.StatePortSidePORTS_ALL
	LocalPorts  = bpf.StatePortSidePORTS_LOCAL
	RemotePorts = bpf.StatePortSidePORTS_REMOTE
)

// Hook is a hook point and what became of it.
type Hook struct {
	Name     kernel.HookName
	Function string
	Kind     kernel.HookKind
	Attached bool
	Note     string // why the rungs above were refused
}

// Probes are the loaded and attached programs. Close detaches everything.
type Probes struct {
	config Config
	types  *btf.Cache // of the running kernel, decoded once for all objects; nil when all are loaded
	// accountFlag is the kernel's SLAB_ACCOUNT.
	accountFlag uint32
	shared      map[string]*ebpf.Map
	// collections and links are kept so that the garbage collector does not detach them.
	collections []*ebpf.Collection
	links       []link.Link
	hooks       []Hook
	walk        *ebpf.Program
	skipsBucket bool             // what the walk has to reckon with
	onDemand    bool             // whether programs may take memory for a map's elements when they need it
	tick        uint32           // nanoseconds from one jiffy to the next
	files       *ebpf.Program    // this and the next two: nil without Config.Live
	tables      *ebpf.Collection // nil also where the kernel has not what it takes
	pages       *ebpf.Collection // the same
	slab        *ebpf.Collection // nil without the slab hook
	slabRung    rung
	slabLinks   []link.Link     // empty while allocations are not traced
	reader      *ringbuf.Reader // nil where nothing is reported
}

// Load loads and attaches the hooks. The error of a missing feature is a *MissingError.
func Load(config Config) (*Probes, error) {
	if config.RingBytes == 0 {
		config.RingBytes = DefaultRingBytes
	}
	// First: what the features are probed with is charged, too, and so are the maps of the user's other programs.
	raised := rlimit.RemoveMemlock()
	if err := checkFeatures(); err != nil {
		return nil, err
	}
	if err := raised; err != nil {
		return nil, fmt.Errorf("raise RLIMIT_MEMLOCK, which kernels before 5.11 charge BPF maps to: %w", err)
	}
	p := &Probes{config: config, types: btf.NewCache(), shared: map[string]*ebpf.Map{}}
	kernelTypes, err := p.types.Kernel()
	if err != nil {
		return nil, fmt.Errorf("read the kernel's types from %s: %w", btfPath, err)
	}
	p.accountFlag = accountFlag(kernelTypes)
	p.skipsBucket = skipsBucket(kernelTypes)
	p.onDemand = takesOnDemand(kernelTypes)
	if p.tick, err = tickNanoseconds(); err != nil {
		return nil, err
	}
	if err := p.attachEverything(); err != nil {
		p.Close()
		return nil, err
	}
	// The kernel's types take tens of MiB in memory and have served their purpose.
	p.types = nil
	debug.FreeOSMemory()
	return p, nil
}

func (p *Probes) attachEverything() error {
	if err := p.attachAll(); err != nil {
		return err
	}
	return errors.Join(p.openRing(), p.startOpens())
}

// openRing opens the event ring, if a hook that is loaded writes to one.
func (p *Probes) openRing() error {
	ring := p.shared[bpf.StateMapEvents]
	if ring == nil {
		return nil
	}
	reader, err := ringbuf.NewReader(ring)
	if err != nil {
		return fmt.Errorf("open the event ring: %w", err)
	}
	p.reader = reader
	return nil
}

// Hooks lists every hook point with the rung it got.
func (p *Probes) Hooks() []Hook { return p.hooks }

// setSlab sets variables of the slab hook's programs.
func (p *Probes) setSlab(values map[string]any) error {
	if p.slab == nil {
		return &NotLoadedError{kernel.HookSlab}
	}
	for name, value := range values {
		if err := p.slab.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// SetRoles tells the slab hook which process is which end, so that it can tell whose allocation it sees. An end without a
// process here is 0.
func (p *Probes) SetRoles(clientPID, serverPID int) error {
	return p.setSlab(map[string]any{bpf.SlabVarClientTgid: uint32(clientPID), bpf.SlabVarServerTgid: uint32(serverPID)})
}

// OthersServe says that every task of the scope which is not the connecting process's is the server's.
func (p *Probes) OthersServe() error {
	return p.setSlab(map[string]any{bpf.SlabVarOtherRole: uint8(bpf.StateRoleROLE_SERVER)})
}

// SampleSoftirqs has stacks sampled of what softirqs allocate from a cache, whatever task they interrupt: the socks of
// accepted ends, where only the load processes' tasks count. The cache is that of a walked listener. Kernels before 6.1 do
// not tell the cache of an allocation.
func (p *Probes) SampleSoftirqs(cache uint64) error {
	return p.setSlab(map[string]any{bpf.SlabVarSoftirqCache: cache})
}

// CountVectors has the slab hook count what the code between two addresses allocates, whatever task runs it, where otherwise
// only the load processes' tasks count.
func (p *Probes) CountVectors(low, high uint64) error {
	return p.setSlab(map[string]any{bpf.SlabVarVectorSiteLow: low, bpf.SlabVarVectorSiteHigh: high})
}

// TraceAllocations attaches the slab hook, if it is not, and samples one stack in a mean number of allocations (0: none).
func (p *Probes) TraceAllocations(sampleInterval int) error {
	if err := p.setSlab(map[string]any{bpf.SlabVarSampleInterval: uint32(sampleInterval)}); err != nil {
		return err
	}
	if len(p.slabLinks) > 0 {
		return nil
	}
	links, err := attachPrograms(p.slab, p.slabRung)
	p.slabLinks = links
	if err != nil {
		return fmt.Errorf("attach the slab hook again: %w", errors.Join(err, p.LeaveAllocations()))
	}
	return nil
}

// LeaveAllocations takes the slab hook off, if it is on. A tracepoint that anything is attached to costs the kernel time at
// every allocation on the host, whatever the program then does: 30 times a connection that is more than all else together.
func (p *Probes) LeaveAllocations() error {
	var errs []error
	for _, l := range p.slabLinks {
		errs = append(errs, l.Close())
	}
	p.slabLinks = nil
	return errors.Join(errs...)
}

// Detach takes every probe off the kernel and leaves maps and the walk usable.
func (p *Probes) Detach() error {
	errs := []error{p.LeaveAllocations()}
	for _, l := range p.links {
		errs = append(errs, l.Close())
	}
	p.links = nil
	return errors.Join(errs...)
}

// Close detaches and unloads everything.
func (p *Probes) Close() error {
	errs := []error{p.Detach()}
	if p.reader != nil {
		errs = append(errs, p.reader.Close())
	}
	for _, c := range p.collections {
		c.Close()
	}
	for _, m := range p.shared {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}
