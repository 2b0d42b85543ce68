package loader

import (
	"fmt"
	"io"
	"net/netip"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

const (
	recordBytes     = int(unsafe.Sizeof(bpf.WalkEndpointRecord{}))
	liveRecordBytes = int(unsafe.Sizeof(bpf.WalkLiveRecord{}))
)

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
	return readRecords(records, p.endpointBytes(), p.config.AtOnce, p.visitor(visit))
}

// endpointBytes is the size of the records that the walk's programs write.
func (p *Probes) endpointBytes() int {
	if p.fillsLive() {
		return liveRecordBytes
	}
	return recordBytes
}

// fillsLive tells whether the walk's programs write live records.
func (p *Probes) fillsLive() bool { return p.config.Live || p.config.Queues }

// visitor visits the endpoints that the records are of.
func (p *Probes) visitor(visit func(*kernel.Endpoint) error) func([]byte) error {
	var e kernel.Endpoint
	if p.fillsLive() {
		return func(record []byte) error {
			fillLive(&e, (*bpf.WalkLiveRecord)(unsafe.Pointer(&record[0])))
			return visit(&e)
		}
	}
	return func(record []byte) error {
		fill(&e, (*bpf.WalkEndpointRecord)(unsafe.Pointer(&record[0])))
		return visit(&e)
	}
}

// fill makes an endpoint of a record. The request that a connection came by stays in the accept queue with it until a process takes
// it (inet_csk_reqsk_queue_add, inet_csk_accept): nothing leads from the sock to it, and there is one.
func fill(e *kernel.Endpoint, r *bpf.WalkEndpointRecord) {
	*e = kernel.Endpoint{
		Sock: r.Sk, File: r.File, Netns: r.Netns, Cache: r.Cache, Bind: r.Bind, Bind2: r.Bind2,
		BindSole:      r.Binding&bpf.WalkBindingBIND_SOLE != 0,
		Bind2Sole:     r.Binding&bpf.WalkBindingBIND2SOLE != 0,
		BindLocked:    r.Binding&bpf.WalkBindingBIND_LOCKED != 0,
		BindByConnect: r.Binding&bpf.WalkBindingBIND_CONNECT != 0,
		Truncated:     r.Flags&bpf.WalkEndpointFlagsWALK_TRUNCATED != 0,
		Scaled:        r.Flags&bpf.WalkEndpointFlagsWALK_SCALED != 0,
		Passed:        r.Flags&bpf.WalkEndpointFlagsWALK_PASSED != 0,
		V6Only:        r.Flags&bpf.WalkEndpointFlagsWALK_V6ONLY != 0,
		Dead:          r.Flags&bpf.WalkEndpointFlagsWALK_DEAD != 0,
		Cloned:        r.Flags&bpf.WalkEndpointFlagsWALK_CLONED != 0,
		State:         kernel.State(r.State),
		Local:         netip.AddrPortFrom(address(r.Family, r.Local), r.LocalPort),
		Remote:        netip.AddrPortFrom(address(r.Family, r.Remote), r.RemotePort),
		Objects:       [kernel.NumObjectTypes]uint16(r.Objects[:]),
		Buffers: kernel.Buffers{Rmem: counted(r.RmemAlloc), Wmem: counted(r.WmemQueued), Forward: r.ForwardAlloc,
			Backlog: counted(r.Backlog), Option: counted(r.OmemAlloc)},
		SKBHeadBytes: r.SkbHead,
	}
	if e.Cloned && !e.Passed && e.Objects[kernel.TCPSock] > 0 && e.Unaccepted() {
		e.Objects[kernel.RequestSock] = 1
	}
}

// counted is a counter of a sock as it was read. The kernel's are signed, and a sock that is being taken down while it is read,
// which no lock prevents, can show one below 0.
func counted(raw uint32) uint32 { return uint32(max(int32(raw), 0)) }

func fillLive(e *kernel.Endpoint, r *bpf.WalkLiveRecord) {
	fill(e, &r.Endpoint)
	e.Live = kernel.Live{Inode: r.Inode, Cgroup: r.Cgroup, UID: r.Uid, Unread: r.Unread, Unacked: r.Unacked,
		AcceptQueue: r.AcceptQueue, AcceptMax: r.AcceptMax, PageCache: r.PageCache,
		Idle: time.Duration(r.Idle), Age: time.Duration(r.Age),
		MPTCP: r.Endpoint.Flags&bpf.WalkEndpointFlagsWALK_MPTCP != 0}
}

func address(family uint8, raw [16]byte) netip.Addr {
	if family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(raw[:4]))
	}
	return netip.AddrFrom16(raw)
}
