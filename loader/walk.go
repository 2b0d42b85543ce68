package loader

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

const recordBytes = int(unsafe.Sizeof(bpf.WalkEndpointRecord{}))

// Netns is a network namespace that can be walked: Do runs a function on a thread that is in it.
type Netns interface {
	Inode() uint32
	Do(func() error) error
}

// Walk visits every TCP endpoint of the namespaces, one namespace after the other and in each the listeners first, and
// calls visit for each. The endpoint is only valid during the call. An error of visit ends the walk.
// Where the kernel's iterator passes over some, listeners of the walk's own stand beside it, which are not visited.
func (p *Probes) Walk(visit func(*kernel.Endpoint) error, namespaces ...Netns) error {
	iter, err := link.AttachIter(link.IterOptions{Program: p.walk})
	if err != nil {
		return fmt.Errorf("attach iterator tcp: %w", err)
	}
	defer iter.Close()
	for _, n := range namespaces {
		if err := p.walkOne(iter, n, visit); err != nil {
			return fmt.Errorf("walk network namespace %d: %w", n.Inode(), err)
		}
	}
	return nil
}

func (p *Probes) walkOne(iter *link.Iter, n Netns, visit func(*kernel.Endpoint) error) error {
	var records io.ReadCloser
	var beside bystanders
	defer beside.close()
	// The kernel takes the namespace of whoever opens the iterator; reading is free to happen anywhere.
	err := n.Do(func() (err error) {
		if p.skipsBucket {
			if err := beside.listen(); err != nil {
				return err
			}
		}
		if records, err = iter.Open(); err != nil {
			return fmt.Errorf("open iterator tcp: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer records.Close()
	if p.skipsBucket {
		visit = leavingOutBystanders(visit)
	}
	return readRecords(records, visit)
}

// chunkBytes is what one read of an iterator returns at most (bpf_seq_read: eight pages), in whole records.
var chunkBytes = 8 * os.Getpagesize() / recordBytes * recordBytes

// readRecords reads in one goroutine, where the kernel's part of the walk happens, and visits in another.
func readRecords(r io.Reader, visit func(*kernel.Endpoint) error) error {
	const ahead = 8
	free, full := make(chan []byte, ahead), make(chan []byte, ahead)
	for range ahead {
		free <- make([]byte, chunkBytes)
	}
	failed := make(chan error, 1)
	go func() {
		defer close(full)
		yieldToOthers()
		for chunk := range free {
			n, err := readWhole(r, chunk)
			if err != nil {
				failed <- err
				return
			}
			if n == 0 {
				return
			}
			full <- chunk[:n]
		}
	}()
	err := visitChunks(full, free, visit)
	close(free)
	for range full { // lets the reader see that free is closed
	}
	select {
	case readErr := <-failed:
		return errors.Join(err, readErr)
	default:
		return err
	}
}

// walkNice makes the walk give way: nine tenths of a CPU that others want go to them (sched_prio_to_weight, kernel/sched).
// Alone it is as fast as without.
const walkNice = 10

// yieldToOthers lowers the calling goroutine's thread in priority, for good: the thread ends with the goroutine.
func yieldToOthers() {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, walkNice) // lowering needs no privilege
}

// readWhole fills part of the chunk with whole records; 0 bytes mean the end. EAGAIN only means that a program has passed
// over a million elements and written nothing (bpf_seq_read, MAX_ITER_OBJECTS): there may be more to come.
func readWhole(r io.Reader, chunk []byte) (int, error) {
	n := 0
	for {
		m, err := r.Read(chunk[n:])
		n += m
		switch {
		case errors.Is(err, unix.EAGAIN):
			continue
		case errors.Is(err, io.EOF) && n%recordBytes == 0:
			return n, nil
		case errors.Is(err, io.EOF):
			return n, fmt.Errorf("read iterator tcp: %w: %d bytes over", io.ErrUnexpectedEOF, n%recordBytes)
		case err != nil:
			return n, fmt.Errorf("read iterator tcp: %w", err)
		case n > 0 && n%recordBytes == 0:
			return n, nil
		}
	}
}

func visitChunks(full <-chan []byte, free chan<- []byte, visit func(*kernel.Endpoint) error) error {
	var endpoint kernel.Endpoint
	for chunk := range full {
		for at := 0; at < len(chunk); at += recordBytes {
			fill(&endpoint, (*bpf.WalkEndpointRecord)(unsafe.Pointer(&chunk[at])))
			if err := visit(&endpoint); err != nil {
				return err
			}
		}
		free <- chunk[:chunkBytes]
	}
	return nil
}

func fill(e *kernel.Endpoint, r *bpf.WalkEndpointRecord) {
	*e = kernel.Endpoint{
		Sock: r.Sk, File: r.File, Netns: r.Netns, Cache: r.Cache, Bind: r.Bind, Bind2: r.Bind2,
		BindSole:      r.Binding&bpf.WalkBindingBIND_SOLE != 0,
		Bind2Sole:     r.Binding&bpf.WalkBindingBIND2SOLE != 0,
		BindLocked:    r.Binding&bpf.WalkBindingBIND_LOCKED != 0,
		BindByConnect: r.Binding&bpf.WalkBindingBIND_CONNECT != 0,
		Truncated:     r.Flags&bpf.WalkEndpointFlagsWALK_TRUNCATED != 0,
		V6Only:        r.Flags&bpf.WalkEndpointFlagsWALK_V6ONLY != 0,
		Dead:          r.Flags&bpf.WalkEndpointFlagsWALK_DEAD != 0,
		Cloned:        r.Flags&bpf.WalkEndpointFlagsWALK_CLONED != 0,
		State:         kernel.State(r.State),
		Local:         netip.AddrPortFrom(address(r.Family, r.Local), r.LocalPort),
		Remote:        netip.AddrPortFrom(address(r.Family, r.Remote), r.RemotePort),
		Objects:       [kernel.NumObjectTypes]uint8(r.Objects[:]),
		Buffers: kernel.Buffers{Rmem: r.RmemAlloc, Wmem: r.WmemQueued, Forward: r.ForwardAlloc, Backlog: r.Backlog,
			Option: r.OmemAlloc},
		SKBHeadBytes: r.SkbHead,
	}
}

func address(family uint8, raw [16]byte) netip.Addr {
	if family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(raw[:4]))
	}
	return netip.AddrFrom16(raw)
}
