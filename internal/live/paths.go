package live

import (
	"context"
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/symbolise"
	"github.com/connprof/connprof/loader"
)

// path is a code path that opens connections.
type path struct {
	addresses []uint64           // leaf first
	process   *symbolise.Process // nil where it was gone
	frames    []symbolise.Frame  // leaf first; made in a pause
	end       symbolise.End
	crowd     bool // it stands for all that begin alike beyond loader.StackWays
}

// paths unwinds copied stacks and teaches the programs to recognise them. Its methods are of one goroutine, until drained is closed.
type paths struct {
	probes *loader.Probes
	store  *symbolise.Store
	list   []*path           // the number less one
	named  int               // how many of them have their names
	byCode map[string]uint32 // numbers by addresses
	// alias is what copies turned out to be, by the number that the connection was counted under. The record takes them out as its
	// time goes by.
	mu    sync.Mutex
	alias map[kernel.OpenerID]kernel.OpenerID
	// taught is which paths are recognised that begin at an instruction with a stack pointer.
	taught map[kernel.StackBeginning]*ways
	// full says that there are mostPaths, and that no more is copied.
	full atomic.Bool
	// programs is what processes execute.
	programs map[uint32]uint64
	// compared is how many recognised stacks were copied all the same, mistaken how many of these were another path when unwound.
	compared, mistaken int
	drained            chan struct{}
	err                error
}

// ways are the paths that are recognised of those that begin alike, each at its way. When all ways are taken, the next one that comes
// takes the place of the one that was taught first: code that is made at run time is made anew as it gets hot, and what ran
// before does not come again. Where that has gone on for long it is no warming up: the last way is for all others then.
type ways struct {
	paths    []uint32
	replaced int
	full     bool // the last one is for all others
}

// mostReplaced is how many times a way may be given to another path.
const mostReplaced = 512

// next is the way for another path, and whether it is for all others.
func (w *ways) next() (way int, others bool) {
	switch {
	case len(w.paths) < loader.StackWays:
		return len(w.paths), false
	case w.replaced < mostReplaced:
		return w.replaced % loader.StackWays, false
	}
	return loader.StackWays - 1, true
}

// take gives the next way to a path.
func (w *ways) take(number uint32) {
	way, others := w.next()
	if way == len(w.paths) {
		w.paths = append(w.paths, number)
		return
	}
	w.paths[way], w.full = number, others
	w.replaced++
}

func newPaths(probes *loader.Probes) *paths {
	return &paths{probes: probes, store: symbolise.NewStore(symbolise.Options{}), byCode: map[string]uint32{},
		alias: map[kernel.OpenerID]kernel.OpenerID{}, taught: map[kernel.StackBeginning]*ways{}, programs: map[uint32]uint64{}, drained: make(chan struct{})}
}

// mostPaths bounds what is kept of a host whose stacks are all different: some 6 KB each.
const mostPaths = 10_000

// nameNice makes finding names give way to what is watched. Unwinding is little, and what comes before it is done is lost.
const nameNice = 10

// follow takes copies until ctx ends, and what is left then.
func (p *paths) follow(ctx context.Context) {
	defer close(p.drained)
	runtime.LockOSThread() // for good: the thread ends with the goroutine
	p.err = p.probes.Copies(ctx, p.take, p.name)
	p.name()
}

// name finds the names of new paths. That can take long, and is done when no copy waits.
func (p *paths) name() {
	if p.named == len(p.list) {
		return
	}
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, nameNice)
	defer func() { _ = unix.Setpriority(unix.PRIO_PROCESS, 0, 0) }() // with CAP_SYS_NICE; else it stays as it is
	for ; p.named < len(p.list); p.named++ {
		if at := p.list[p.named]; at.process != nil {
			at.frames = at.process.Frames(at.addresses)
		}
	}
}

// take unwinds a copy.
func (p *paths) take(c *kernel.StackCopy) {
	if len(p.list) >= mostPaths {
		p.full.Store(true)
		return
	}
	sample := symbolise.Sample{Registers: symbolise.Registers(c.Registers), Memory: c.Memory}
	process, err := p.process(c)
	var found symbolise.Path
	if err != nil {
		found = symbolise.Path{Addresses: []uint64{instructionOf(&sample)}, End: symbolise.ProcessGone}
	} else {
		found = process.Unwind(&sample)
	}
	number := p.number(c.Program, process, &found)
	if c.Learned != 0 {
		p.compared++
		if c.Learned != number && !p.list[c.Learned-1].crowd {
			p.mistaken++
		}
		return
	}
	p.mu.Lock()
	p.alias[c.Opener] = kernel.PathOf(number, c.PID)
	p.mu.Unlock()
	if err == nil {
		p.teach(number, c.Program, &sample, &found)
	}
}

// process is what is known of the process that a copy is of. One that executes another program by now has nothing to tell of the one
// that was copied.
func (p *paths) process(c *kernel.StackCopy) (*symbolise.Process, error) {
	pid := int(c.PID)
	if known := p.programs[c.PID]; known == c.Program {
		return p.store.Process(pid)
	} else if known != 0 {
		p.name() // by what it was
		p.store.Forget(pid)
		delete(p.programs, c.PID)
	}
	process, err := p.store.Process(pid)
	if start := kernel.StartStack(pid); err == nil && start != 0 && start != c.StartStack {
		p.store.Forget(pid)
		return nil, symbolise.ErrGone
	}
	if err == nil {
		p.programs[c.PID] = c.Program
	}
	return process, err
}

// number is that of a path, made at first sight.
func (p *paths) number(program uint64, process *symbolise.Process, found *symbolise.Path) uint32 {
	key := binary.NativeEndian.AppendUint64(make([]byte, 0, 8*len(found.Addresses)+9), program)
	for _, a := range found.Addresses {
		key = binary.NativeEndian.AppendUint64(key, a)
	}
	key = append(key, byte(found.End))
	if n, known := p.byCode[string(key)]; known {
		return n
	}
	p.list = append(p.list, &path{addresses: slices.Clone(found.Addresses), process: process, end: found.End})
	n := uint32(len(p.list))
	p.byCode[string(key)] = n
	return n
}

// teach has the path recognised from now on.
func (p *paths) teach(number uint32, program uint64, sample *symbolise.Sample, found *symbolise.Path) {
	at := kernel.StackBeginning{IP: instructionOf(sample), Program: program, SP: uint32(stackPointerOf(sample) & 4095)}
	known := p.taught[at]
	if known == nil {
		known = &ways{}
		p.taught[at] = known
	}
	if known.full || slices.Contains(known.paths, number) { // another copy of it was on its way
		return
	}
	slots := make([]kernel.StackSlot, len(found.Slots))
	for i, s := range found.Slots {
		slots[i] = kernel.StackSlot{Offset: s.Offset, Address: s.Value}
	}
	way, others := known.next()
	if others {
		p.list = append(p.list, &path{addresses: found.Addresses[:1:1], process: p.list[number-1].process, end: found.End, crowd: true})
		number, slots = uint32(len(p.list)), nil
	}
	if err := p.probes.Learn(number, at, way, slots); err != nil {
		return // the map is full: these stacks are copied as long as there is leave
	}
	known.take(number)
}

// resolve is what a copied stack turned out to be; false where it has not been unwound. Other numbers are what they are.
func (p *paths) resolve(id kernel.OpenerID) (kernel.OpenerID, bool) {
	if p == nil || !id.Sample() {
		return id, !id.Sample()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	to, known := p.alias[id]
	return to, known
}

// forget is for copies that nothing more is counted under.
func (p *paths) forget(id kernel.OpenerID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.alias, id)
}

// of is the path of a number, nil for none.
func (p *paths) of(number uint32) *path {
	if p == nil || number == 0 || int(number) > len(p.list) {
		return nil
	}
	return p.list[number-1]
}

// instructionOf and stackPointerOf know the registers by their DWARF numbers.
func instructionOf(s *symbolise.Sample) uint64 {
	if runtime.GOARCH == "arm64" {
		return s.Registers[32]
	}
	return s.Registers[16]
}

func stackPointerOf(s *symbolise.Sample) uint64 {
	if runtime.GOARCH == "arm64" {
		return s.Registers[31]
	}
	return s.Registers[7]
}
