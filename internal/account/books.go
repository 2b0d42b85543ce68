package account

import (
	"os"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// HostBooks is the kernel's own figures for the whole host.
type HostBooks struct {
	Sockets  int    // "alloc" of TCP in /proc/net/sockstat
	TCPSocks uint64 // active objects of the slab caches TCP and TCPv6
	// Pages is the protocol's counter, memory_allocated ("mem" in /proc/net/sockstat), in pages. CPUPages is the sum over all
	// CPUs of what each has not yet added to it (per_cpu_fw_alloc, since 3cd3399dd7a8 in Linux 6.0), 0 on older kernels. It
	// can be negative.
	Pages, CPUPages int64
	PageLimits      [3]int64 // sysctl net.ipv4.tcp_mem: low, pressure, high
	SlabBytes       uint64   // Slab in /proc/meminfo
}

// BooksOf is what the account needs of the kernel's books, with what the CPUs keep of TCP's pages, which only BPF can read.
func BooksOf(b kernel.TCPBooks, cpuPages int64) HostBooks {
	return HostBooks{Sockets: b.Alloc, TCPSocks: b.TCPSocks, Pages: b.Pages, CPUPages: cpuPages, PageLimits: b.PageLimits,
		SlabBytes: b.SlabBytes}
}

// walkSums is what a walk found of each book.
type walkSums struct {
	walked, unconnected int   // full socks, in the protocol's tables and by their files alone
	booked              int64 // bytes that the sockets have taken from the protocol's budget
}

// add enters an endpoint. The protocol's tables hold no sock in CLOSE: it was found by its file. Request socks and those in
// TIME_WAIT are counted by other books, and have no queues.
func (s *walkSums) add(e *kernel.Endpoint) {
	if !full(e) {
		return
	}
	if e.State == kernel.StateClose {
		s.unconnected++
	} else {
		s.walked++
	}
	s.booked += int64(e.Buffers.Rmem) + int64(e.Buffers.Wmem) + int64(e.Buffers.Forward)
}

// FillBooks holds the walk against the kernel's books, after FillWalk.
func (l *Ledger) FillBooks(r *recording.Machine, host HostBooks) {
	accounted := uint64(0)
	for _, row := range r.Endpoints {
		accounted += row.PageBytes
	}
	books := balance(host, l.walk.sums, accounted)
	r.Books = &books
}

// balance holds sums against books:
//
//   - alloc = active objects of TCP and TCPv6 = socks in the protocol's tables + socks in CLOSE that a file leads to +
//     those in nobody's reach (in flight, unconnected). tcp_init_sock() and tcp_create_openreq_child() count alloc up,
//     tcp_v4_destroy_sock() counts it down.
//   - memory_allocated + what the CPUs keep = sum of (sk_rmem_alloc + sk_wmem_queued + sk_forward_alloc) / page size.
//     __sk_mem_raise_allocated() takes whole pages from the budget into sk_forward_alloc, and sk_mem_charge() moves bytes
//     from there to the queues. MPTCP's own sockets (not its subflows) draw on the same budget and are in no walk.
func balance(host HostBooks, walk walkSums, accounted uint64) recording.Books {
	found := walk.walked + walk.unconnected
	return recording.Books{
		Sockets: recording.SocketBook{Alloc: host.Sockets, Walked: walk.walked, Unconnected: walk.unconnected,
			Unreachable: host.Sockets - found},
		TCPSocks: recording.TCPSockBook{Slabinfo: int(host.TCPSocks), Walked: found},
		Pages: recording.PageBook{Kernel: host.Pages + host.CPUPages,
			Summed:   float64(walk.booked) / float64(os.Getpagesize()),
			LimitLow: host.PageLimits[0], LimitPressure: host.PageLimits[1], LimitHigh: host.PageLimits[2]},
		Slab: recording.SlabBook{TotalBytes: host.SlabBytes, AccountedBytes: accounted},
	}
}
