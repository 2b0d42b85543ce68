package loader

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

// openMap is one of the maps that Config.Opens asks for.
func (p *Probes) openMap(name string) (*ebpf.Map, error) {
	if m := p.shared[name]; m != nil {
		return m, nil
	}
	return nil, &NotLoadedError{kernel.HookState}
}

// startOpens makes the one opener that is always there.
func (p *Probes) startOpens() error {
	if p.config.Opens == nil {
		return nil
	}
	err := p.shared[bpf.OpensMapOpeners].Update(uint64(kernel.NoOpener), bpf.OpensOpener{}, ebpf.UpdateNoExist)
	if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
		return fmt.Errorf("fill map %s: %w", bpf.OpensMapOpeners, err)
	}
	return nil
}

// StartOpens has what is opened from now on counted. What was opened before is told apart.
func (p *Probes) StartOpens() error { return p.setLate(false) }

// EndOpens has what is opened from now on told apart and not counted.
func (p *Probes) EndOpens() error { return p.setLate(true) }

func (p *Probes) setLate(late bool) error {
	if p.config.Opens == nil {
		return &NotLoadedError{kernel.HookState}
	}
	for _, c := range p.collections { // each has variables of its own
		if v := c.Variables[bpf.OpensVarLate]; v != nil {
			if err := v.Set(late); err != nil {
				return fmt.Errorf("set %s: %w", bpf.OpensVarLate, err)
			}
		}
	}
	return nil
}

// CountListener has what comes in at a listener counted, where only some processes count (Opens.PIDs).
func (p *Probes) CountListener(netns uint32, port uint16) error {
	m, err := p.openMap(bpf.OpensMapListeners)
	if err != nil {
		return err
	}
	if err := m.Put(bpf.OpensListenerKey{Netns: netns, Port: uint32(port)}, bpf.OpensListener{Followed: 1}); err != nil {
		return fmt.Errorf("fill map %s: %w", bpf.OpensMapListeners, err)
	}
	return nil
}

// OpenSocket is the connection of a sock, if one was opened while the programs watched.
func (p *Probes) OpenSocket(sock uint64) (kernel.OpenSocket, bool) {
	m, err := p.openMap(bpf.OpensMapOpenSockets)
	if err != nil {
		return kernel.OpenSocket{}, false
	}
	var s bpf.OpensOpenSocket
	if err := m.Lookup(sock, &s); err != nil {
		return kernel.OpenSocket{}, false
	}
	return openSocket(&s), true
}

func openSocket(s *bpf.OpensOpenSocket) kernel.OpenSocket {
	return kernel.OpenSocket{Opened: time.Duration(s.Nanoseconds), Opener: kernel.OpenerID(s.Opener), Error: kernel.OpenError(s.Error),
		Role: kernel.Role(s.Role), PeerPort: s.PeerPort}
}

// AllowCopies says how many stacks may have been copied in all.
func (p *Probes) AllowCopies(n uint64) error {
	m, err := p.openMap(bpf.OpensMapCopyBudget)
	if err != nil {
		return err
	}
	return m.Put(uint32(0), n)
}

// Copies hands every stack that was copied to visit until ctx ends, and then what is left. The copy is valid during the call. Where
// there is none for a moment it calls pause.
func (p *Probes) Copies(ctx context.Context, visit func(*kernel.StackCopy), pause func()) error {
	ring, err := p.openMap(bpf.OpensMapStackCopies)
	if err != nil {
		return err
	}
	reader, err := ringbuf.NewReader(ring)
	if err != nil {
		return fmt.Errorf("open the ring of copied stacks: %w", err)
	}
	defer reader.Close()
	var rec ringbuf.Record
	var c kernel.StackCopy
	for last := false; ; {
		reader.SetDeadline(time.Now().Add(idle))
		err := reader.ReadInto(&rec)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && last:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			pause()
			last = ctx.Err() != nil
		case err != nil:
			return fmt.Errorf("read the ring of copied stacks: %w", err)
		case len(rec.RawSample) < int(unsafe.Sizeof(bpf.OpensStackCopy{})):
			return fmt.Errorf("copied stack of %d bytes: program and loader do not fit", len(rec.RawSample))
		default:
			fillCopy(&c, (*bpf.OpensStackCopy)(unsafe.Pointer(unsafe.SliceData(rec.RawSample))))
			visit(&c)
		}
	}
}

func fillCopy(c *kernel.StackCopy, s *bpf.OpensStackCopy) {
	*c = kernel.StackCopy{Opener: kernel.OpenerID(s.Opener), Program: s.Program, StartStack: s.StartStack, Learned: uint32(s.Learned), Registers: s.Registers, PID: s.Pid, TID: s.Tid,
		Role: kernel.Role(s.Role), Comm: text(s.Comm[:]), Memory: s.Memory[:min(int(s.Len), len(s.Memory))]}
}

// Learn has stacks recognised that begin so and have these return addresses: they are of the path. Up to StackWays paths can begin
// alike; way tells them apart, counted from 0.
func (p *Probes) Learn(path uint32, at kernel.StackBeginning, way int, slots []kernel.StackSlot) error {
	m, err := p.openMap(bpf.OpensMapLearnedStacks)
	if err != nil {
		return err
	}
	l := bpf.OpensLearnedStack{Path: path, N: uint32(min(len(slots), kernel.StackSlots))}
	for i, s := range slots[:l.N] {
		l.Offsets[i], l.Values[i] = s.Offset, s.Address
	}
	if err := m.Put(bpf.OpensStackKey{Ip: at.IP, Program: at.Program, Sp: at.SP, Way: uint32(way)}, l); err != nil {
		return fmt.Errorf("fill map %s: %w", bpf.OpensMapLearnedStacks, err)
	}
	return nil
}

// StackWays is how many paths can begin alike.
const StackWays = 24

// Openers reads the counts of all openers.
func (p *Probes) Openers(visit func(kernel.OpenerID, *kernel.OpenerCounts)) error {
	var c kernel.OpenerCounts
	return readMap(p, bpf.OpensMapOpeners, func(id uint64, row *bpf.OpensOpener) {
		c = kernel.OpenerCounts{Opened: row.Opened, Closed: row.Closed, Failed: row.Failed, Arrived: row.Arrived, Comm: text(row.Comm[:]),
			PID: row.Pid, Role: kernel.Role(row.Role), Errors: row.Errors, Lifetimes: row.Lifetimes}
		visit(kernel.OpenerID(id), &c)
	})
}

// ForgetOpener takes an opener off the map. Nothing may be counted for it any more.
func (p *Probes) ForgetOpener(id kernel.OpenerID) error {
	m, err := p.openMap(bpf.OpensMapOpeners)
	if err != nil {
		return err
	}
	if err := m.Delete(uint64(id)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("delete from map %s: %w", bpf.OpensMapOpeners, err)
	}
	return nil
}

// OpenSockets visits the connections that were opened and not seen to close, by the address of their sock.
func (p *Probes) OpenSockets(visit func(sock uint64, s kernel.OpenSocket)) error {
	return readMap(p, bpf.OpensMapOpenSockets, func(sock uint64, s *bpf.OpensOpenSocket) {
		visit(sock, openSocket(s))
	})
}

// Services is where clients' connections went to, as far as there was place for them.
func (p *Probes) Services() (list []kernel.Service, err error) {
	err = readMap(p, bpf.OpensMapServices, func(key bpf.OpensServiceKey, s *bpf.OpensService) {
		list = append(list, kernel.Service{Netns: key.Netns, Address: netip.AddrPortFrom(address(key.Family, key.Address).Unmap(), key.Port),
			Opened: s.Opened, Failed: s.Failed})
	})
	return list, err
}

// ListenersMade is the listeners that were made since the programs were attached.
func (p *Probes) ListenersMade() (list []kernel.ListenerMade, err error) {
	err = readMap(p, bpf.OpensMapListeners, func(key bpf.OpensListenerKey, l *bpf.OpensListener) {
		list = append(list, kernel.ListenerMade{Netns: key.Netns, Port: uint16(key.Port), PID: l.Pid, Comm: text(l.Comm[:])})
	})
	return list, err
}

// readMap visits the entries of a hash map in batches. What comes or goes meanwhile may be met or not.
func readMap[K comparable, V any](p *Probes, name string, visit func(K, *V)) error {
	m, err := p.openMap(name)
	if err != nil {
		return err
	}
	size := max(1, min(4096, (1<<20)/int(unsafe.Sizeof(*new(V)))))
	keys, values := make([]K, size), make([]V, size)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		for i := range n {
			visit(keys[i], &values[i])
		}
		switch {
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return nil
		case err != nil:
			return fmt.Errorf("read map %s: %w", name, err)
		}
	}
}

// OpenCounters reads the programs' own sums.
func (p *Probes) OpenCounters() (sum kernel.OpenCounters, err error) {
	m, err := p.openMap(bpf.OpensMapOpenCounts)
	if err != nil {
		return sum, err
	}
	var perCPU []bpf.OpensOpenCounters
	if err := m.Lookup(uint32(0), &perCPU); err != nil {
		return sum, fmt.Errorf("read map %s: %w", bpf.OpensMapOpenCounts, err)
	}
	for _, c := range perCPU {
		sum.Opened += c.Opened
		sum.Closed += c.Closed
		sum.Failed += c.Failed
		sum.ClosedBefore += c.ClosedBefore
		sum.NeverConnected += c.NeverConnected
		sum.Replaced += c.Replaced
		sum.Copied += c.Copied
		sum.Recognised += c.Recognised
		sum.NotCopied += c.NotCopied
		sum.MapFull += c.MapFull
		sum.RowsFull += c.RowsFull
	}
	return sum, nil
}
