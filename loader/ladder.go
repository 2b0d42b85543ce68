package loader

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

// hookPoint is something to observe, with the ways to observe it, best first.
type hookPoint struct {
	name  kernel.HookName
	spec  func() (*ebpf.CollectionSpec, error)
	rungs []rung
	// forced says that Config.Force chooses among the rungs.
	forced bool
}

// rung is one way to attach a hook point.
type rung struct {
	kind     kernel.HookKind
	function string // as shown
	// programs are attached together, and any of the required ones failing refuses the rung.
	programs []attachment
	// standIn says that no program of its own is needed: the state hook reports for it.
	standIn bool
	// suits tells whether the running kernel declares what the programs are written for; nil: it does.
	suits func(*btf.Spec) bool
}

type attachment struct {
	program  string
	symbol   string // for kprobe
	attach   func(prog *ebpf.Program, symbol string) (link.Link, error)
	optional bool // its absence (a kernel without IPv6) refuses nothing
}

// ladder is what connprof hooks into. The connect hook comes before the state hook, which reports connects itself
// where the connect hook got no rung of its own.
var ladder = []hookPoint{
	{name: kernel.HookConnect, spec: bpf.LoadConnect, forced: true, rungs: []rung{
		{kind: kernel.KindKprobe, function: "tcp_v4_connect", programs: []attachment{
			{program: bpf.ConnectProgConnectV4Kprobe, symbol: "tcp_v4_connect", attach: attachKprobe},
			{program: bpf.ConnectProgConnectV6Kprobe, symbol: "tcp_v6_connect", attach: attachKprobe, optional: true}}},
		{kind: kernel.KindFentry, function: "tcp_v4_connect", programs: []attachment{
			{program: bpf.ConnectProgConnectV4Fentry, attach: attachTracing},
			{program: bpf.ConnectProgConnectV6Fentry, attach: attachTracing, optional: true}}},
		{kind: kernel.KindTracepoint, function: "inet_sock_set_state", standIn: true},
	}},
	{name: kernel.HookAccept, spec: bpf.LoadAccept, forced: true, rungs: []rung{
		{kind: kernel.KindKprobe, function: "inet_csk_accept", programs: []attachment{
			{program: bpf.AcceptProgAcceptKretprobe, symbol: "inet_csk_accept", attach: attachKretprobe},
			// Exists with CONFIG_SECURITY_NETWORK. Without it the return probe's misses are losses.
			{program: bpf.AcceptProgAcceptGraftKprobe, symbol: "security_sock_graft", attach: attachKprobe, optional: true}}},
		{kind: kernel.KindFentry, function: "inet_csk_accept", suits: functionHasArgs("inet_csk_accept", 2), programs: []attachment{
			{program: bpf.AcceptProgAcceptFexit2Args, attach: attachTracing}}},
		{kind: kernel.KindFentry, function: "inet_csk_accept", suits: functionHasArgs("inet_csk_accept", 4), programs: []attachment{
			{program: bpf.AcceptProgAcceptFexit4Args, attach: attachTracing}}},
		{kind: kernel.KindTracepoint, function: "inet_sock_set_state", standIn: true},
	}},
	{name: kernel.HookState, spec: bpf.LoadState, rungs: []rung{
		{kind: kernel.KindTracepoint, function: "inet_sock_set_state", programs: []attachment{
			{program: bpf.StateProgStateChange, attach: attachTracing}}},
	}},
	{name: kernel.HookDestroy, spec: bpf.LoadState, rungs: []rung{
		{kind: kernel.KindTracepoint, function: "tcp_destroy_sock", programs: []attachment{
			{program: bpf.StateProgDestroy, attach: attachTracing}}},
	}},
	{name: kernel.HookSlab, spec: bpf.LoadSlab, rungs: []rung{
		{kind: kernel.KindTracepoint, function: "kmem_cache_alloc, kmem_cache_free, kmalloc",
			suits: tracepointPassesCache, programs: []attachment{
				{program: bpf.SlabProgAllocWithCache, attach: attachTracing},
				{program: bpf.SlabProgKmallocAlloc, attach: attachTracing},
				{program: bpf.SlabProgFreeObject, attach: attachTracing}}},
		{kind: kernel.KindTracepoint, function: "kmem_cache_alloc, kmem_cache_alloc_node, kmem_cache_free, kmalloc",
			programs: []attachment{
				{program: bpf.SlabProgAllocWithSize, attach: attachTracing},
				{program: bpf.SlabProgAllocNodeWithSize, attach: attachTracing},
				{program: bpf.SlabProgKmallocAlloc, attach: attachTracing},
				{program: bpf.SlabProgFreeObject, attach: attachTracing}}},
	}},
	{name: kernel.HookWalk, spec: bpf.LoadWalk, rungs: []rung{
		{kind: kernel.KindIterator, function: "tcp", programs: []attachment{{program: bpf.WalkProgWalkTcp}}},
	}},
}

func attachKprobe(p *ebpf.Program, symbol string) (link.Link, error) {
	return link.Kprobe(symbol, p, nil)
}

func attachKretprobe(p *ebpf.Program, symbol string) (link.Link, error) {
	return link.Kretprobe(symbol, p, nil)
}

func attachTracing(p *ebpf.Program, _ string) (link.Link, error) {
	return link.AttachTracing(link.TracingOptions{Program: p})
}

// forces tells whether one rung alone may be taken.
func (c Config) forces() bool { return c.Force != "" && c.Force != kernel.KindAuto }

func (c Config) tries(point hookPoint, kind kernel.HookKind) bool {
	return !point.forced || !c.forces() || c.Force == kind
}

// points are the hook points of the set, and those of a look at a running host.
func (c Config) points() (points []hookPoint) {
	for _, point := range ladder {
		if c.Hooks.has(point.name) {
			points = append(points, point)
		}
	}
	if c.Live {
		points = append(points, liveLadder...)
	}
	if c.Opens != nil {
		points = append(points, openLadder(c.Opens)...)
	}
	return points
}

// attachAll climbs the ladder of every hook point of the set.
func (p *Probes) attachAll() error {
	for _, point := range p.config.points() {
		hook, err := p.attachPoint(point)
		if err != nil {
			return err
		}
		p.hooks = append(p.hooks, hook)
	}
	return nil
}

// attachPoint takes the first rung that the kernel accepts and notes what it said to those before.
func (p *Probes) attachPoint(point hookPoint) (Hook, error) {
	types, err := p.types.Kernel()
	if err != nil {
		return Hook{}, fmt.Errorf("read the kernel's types from %s: %w", btfPath, err)
	}
	var refused []string
	var errs []error
	for _, r := range point.rungs {
		if !p.config.tries(point, r.kind) {
			continue
		}
		if r.suits != nil && !r.suits(types) {
			continue
		}
		err := p.attachRung(point, r)
		if err == nil {
			return Hook{Name: point.name, Function: r.function, Kind: r.kind, Attached: true,
				Note: strings.Join(refused, "; ")}, nil
		}
		refused = append(refused, fmt.Sprintf("%s: %s", r.kind, refusal(r.kind, err)))
		errs = append(errs, &rungError{text: fmt.Sprintf("%s %s: %s", r.kind, r.function, refusal(r.kind, err)), cause: err})
	}
	if len(errs) == 0 {
		errs = append(errs, fmt.Errorf("no %s rung is written for this kernel", p.config.Force))
	}
	return Hook{}, &MissingError{What: "the " + hookName(point), Cause: errors.Join(errs...), Fix: hookFix(p.config, point)}
}

// rungError says in one line why a rung was refused; the kernel's and the library's own words are its cause.
type rungError struct {
	text  string
	cause error
}

func (e *rungError) Error() string { return e.text }
func (e *rungError) Unwrap() error { return e.cause }

func hookFix(c Config, point hookPoint) string {
	if point.forced && c.forces() {
		return "leave out --hooks " + string(c.Force) + ", so that connprof takes what this kernel offers"
	}
	return "run a kernel of 5.8 or later built with CONFIG_BPF_EVENTS and CONFIG_DEBUG_INFO_BTF"
}

func (p *Probes) attachRung(point hookPoint, r rung) error {
	if r.standIn {
		return nil
	}
	coll, err := p.loadPrograms(point, r)
	if err != nil {
		return err
	}
	links, err := attachPrograms(coll, r)
	if err != nil {
		for _, l := range links {
			l.Close()
		}
		coll.Close()
		return err
	}
	p.collections = append(p.collections, coll)
	switch point.name {
	case kernel.HookSlab:
		p.slab, p.slabRung, p.slabLinks = coll, r, links
		return nil
	case kernel.HookWalk:
		p.walk = coll.Programs[bpf.WalkProgWalkTcp]
	case kernel.HookFiles:
		p.files = coll.Programs[bpf.FilesProgOpenFiles]
	case kernel.HookTables:
		p.tables = coll
	case kernel.HookPages:
		p.pages = coll
	}
	p.links = append(p.links, links...)
	return nil
}

func attachPrograms(coll *ebpf.Collection, r rung) ([]link.Link, error) {
	var links []link.Link
	for _, a := range r.programs {
		prog := coll.Programs[a.program]
		if a.attach == nil || prog == nil {
			continue
		}
		l, err := a.attach(prog, a.symbol)
		if err != nil && a.optional {
			continue
		}
		if err != nil {
			return links, err
		}
		links = append(links, l)
	}
	return links, nil
}

// loadPrograms loads a rung's programs, and without the optional ones where the kernel refuses these.
func (p *Probes) loadPrograms(point hookPoint, r rung) (*ebpf.Collection, error) {
	coll, err := p.loadSome(point, r, true)
	if err == nil {
		return coll, nil
	}
	for _, a := range r.programs {
		if a.optional {
			return p.loadSome(point, r, false)
		}
	}
	return nil, err
}

func (p *Probes) loadSome(point hookPoint, r rung, optional bool) (*ebpf.Collection, error) {
	spec, err := point.spec()
	if err != nil {
		return nil, err
	}
	keep := map[string]bool{}
	for _, a := range r.programs {
		keep[a.program] = optional || !a.optional
	}
	types, err := p.types.Kernel()
	if err != nil {
		return nil, fmt.Errorf("read the kernel's types from %s: %w", btfPath, err)
	}
	for name, prog := range spec.Programs {
		if !keep[name] {
			delete(spec.Programs, name)
		} else if !hasLoop(types) {
			prog.Instructions = withoutCallbacks(prog.Instructions)
		}
	}
	if err := p.setVariables(spec); err != nil {
		return nil, err
	}
	return p.loadSharing(spec)
}

// setVariables sets the constants that an object declares.
func (p *Probes) setVariables(spec *ebpf.CollectionSpec) error {
	pidns, err := ownPIDNamespace()
	if err != nil {
		return err
	}
	values := map[string]any{
		bpf.StateVarOwnPidns:            pidns,
		bpf.StateVarScope:               uint8(p.config.Scope.kind),
		bpf.StateVarTargetNetns:         p.config.Scope.target(),
		bpf.StateVarStateReportsConnect: !p.hasOwnProgram(kernel.HookConnect),
		bpf.SlabVarSampleInterval:       uint32(p.config.SampleInterval),
		bpf.SlabVarLoadTasksOnly:        p.config.Ports.Side != AllPorts,
		bpf.StateVarPortsSide:           uint8(p.config.Ports.Side),
		bpf.StateVarPortsLow:            p.config.Ports.Low,
		bpf.StateVarPortsHigh:           p.config.Ports.High,
		bpf.WalkVarLive:                 p.fillsLive(),
		bpf.WalkVarTickNanoseconds:      p.tick,
	}
	maps.Copy(values, p.config.Asked.variables())
	maps.Copy(values, p.config.Opens.variables())
	for name, value := range values {
		if v, ok := spec.Variables[name]; ok {
			if err := v.Set(value); err != nil {
				return fmt.Errorf("set %s: %w", name, err)
			}
		}
	}
	return nil
}

func (p *Probes) hasOwnProgram(name kernel.HookName) bool {
	for _, h := range p.hooks {
		if h.Name == name {
			return h.Kind != kernel.KindTracepoint
		}
	}
	return false
}

// sharedMaps are declared by several objects and made once.
var sharedMaps = []string{bpf.StateMapEvents, bpf.StateMapCounters, bpf.StateMapScopeNetns, bpf.SlabMapCaches,
	bpf.SlabMapSites}

// fit gives a map the size and contents that the configuration asks for.
func (c Config) fit(m *ebpf.MapSpec) {
	switch m.Name {
	case bpf.StateMapEvents:
		m.MaxEntries = uint32(c.RingBytes)
	case bpf.StateMapScopeNetns:
		c.Scope.fill(m)
	case bpf.SlabMapCaches:
		if c.cacheEntries > 0 {
			m.MaxEntries = uint32(c.cacheEntries)
		}
	}
}

func (p *Probes) loadSharing(spec *ebpf.CollectionSpec) (*ebpf.Collection, error) {
	replace := map[string]*ebpf.Map{}
	for _, name := range slices.Concat(sharedMaps, openMaps) {
		ms, ok := spec.Maps[name]
		if !ok {
			continue
		}
		p.config.fit(ms)
		if p.config.Opens != nil {
			p.config.Opens.fit(ms, p.onDemand)
		}
		if p.shared[name] == nil {
			m, err := ebpf.NewMap(ms)
			if err != nil {
				return nil, fmt.Errorf("make map %s: %w", name, err)
			}
			p.shared[name] = m
		}
		replace[name] = p.shared[name]
	}
	return ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replace, Cache: p.types})
}
