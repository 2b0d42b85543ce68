package loader

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"unsafe"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/kernel"
)

const recordBytes = int(unsafe.Sizeof(bpf.WalkEndpointRecord{}))

// Walk visits every TCP endpoint of the network namespace that inNetns runs its argument in, listeners first, and
// calls visit for each. The endpoint is only valid during the call. An error of visit ends the walk.
func (p *Probes) Walk(inNetns func(func() error) error, visit func(*kernel.Endpoint) error) error {
	iter, err := link.AttachIter(link.IterOptions{Program: p.walk})
	if err != nil {
		return fmt.Errorf("attach iterator tcp: %w", err)
	}
	defer iter.Close()
	var records io.ReadCloser
	// The kernel takes the namespace of whoever opens the iterator; reading is free to happen anywhere.
	err = inNetns(func() error {
		records, err = iter.Open()
		return err
	})
	if err != nil {
		return fmt.Errorf("open iterator tcp: %w", err)
	}
	defer records.Close()
	return readRecords(bufio.NewReaderSize(records, 64*recordBytes*8), visit)
}

func readRecords(r io.Reader, visit func(*kernel.Endpoint) error) error {
	var record bpf.WalkEndpointRecord
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&record)), recordBytes)
	var endpoint kernel.Endpoint
	for {
		_, err := io.ReadFull(r, raw)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read iterator tcp: %w", err)
		}
		fill(&endpoint, &record)
		if err := visit(&endpoint); err != nil {
			return err
		}
	}
}

// The bits of bind_flags and flags in bpf/connprof.h.
const (
	bindSole      = 1
	bind2Sole     = 2
	walkTruncated = 1
)

func fill(e *kernel.Endpoint, r *bpf.WalkEndpointRecord) {
	*e = kernel.Endpoint{
		Sock: r.Sk, Cache: r.Cache, Bind: r.Bind, Bind2: r.Bind2,
		BindSole: r.BindFlags&bindSole != 0, Bind2Sole: r.BindFlags&bind2Sole != 0,
		Truncated: r.Flags&walkTruncated != 0,
		State:     kernel.State(r.State),
		Local:     netip.AddrPortFrom(address(r.Family, r.Local), r.LocalPort),
		Remote:    netip.AddrPortFrom(address(r.Family, r.Remote), r.RemotePort),
		Objects:   [kernel.NumObjectTypes]uint8(r.Objects[:]),
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
