package account

import (
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func TestTheBooksAreHeldAgainstTheWalk(t *testing.T) {
	host := HostBooks{Sockets: 174, TCPSocks: 175, Pages: 20272, CPUPages: -272, PageLimits: [3]int64{100, 200, 300},
		SlabBytes: 5 << 30}
	got := balance(host, walkSums{walked: 160, unconnected: 11, booked: 19_998 * int64(page)}, 1<<30)
	want := recording.Books{
		Sockets:  recording.SocketBook{Alloc: 174, Walked: 160, Unconnected: 11, Unreachable: 3},
		TCPSocks: recording.TCPSockBook{Slabinfo: 175, Walked: 171},
		Pages:    recording.PageBook{Kernel: 20_000, Summed: 19_998, LimitLow: 100, LimitPressure: 200, LimitHigh: 300},
		Slab:     recording.SlabBook{TotalBytes: 5 << 30, AccountedBytes: 1 << 30},
	}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if socks, pages, slab := got.TCPSocks.Remainder(), got.Pages.Remainder(), got.Slab.Remainder(); socks != 4 || pages != 2 ||
		slab != 4<<30 {
		t.Errorf("remainders of %d socks, %v pages, %d bytes, want 4, 2 and 4 GiB", socks, pages, slab)
	}
	if more := balance(HostBooks{Sockets: 1}, walkSums{walked: 3}, 0); more.Sockets.Unreachable != -2 {
		t.Errorf("%d sockets in nobody's reach, want the 2 too many to show", more.Sockets.Unreachable)
	}
}

func TestAWalkCountsWhatEachBookCounts(t *testing.T) {
	w := newWorld()
	c, l := testCaches(), NewLedger(0)
	full := 0
	for _, e := range append(w.listeners, w.endpoints...) {
		e.Buffers = kernel.Buffers{Rmem: 3000, Wmem: 2000, Forward: -904, Backlog: 50, Option: 70} // 4096 that are booked
		if e.Objects[kernel.TCPSock] > 0 {
			full++
		} else {
			e.Buffers = kernel.Buffers{}
		}
		l.Visit(e, c)
	}
	r := &recording.Machine{}
	l.FillWalk(r, c)
	l.FillBooks(r, HostBooks{Sockets: full, TCPSocks: uint64(full), SlabBytes: 1 << 40})
	b := r.Books
	if b.Sockets != (recording.SocketBook{Alloc: full, Walked: full - 1, Unconnected: 1}) || b.TCPSocks.Remainder() != 0 {
		t.Errorf("%+v and %+v, want %d socks, one of them in CLOSE", b.Sockets, b.TCPSocks, full)
	}
	if want := float64(full) * 4096 / float64(page); b.Pages.Summed != want {
		t.Errorf("%v pages, want %v", b.Pages.Summed, want)
	}
	accounted := uint64(0)
	for _, row := range r.Endpoints {
		accounted += row.PageBytes
	}
	if accounted == 0 || b.Slab.AccountedBytes != accounted {
		t.Errorf("%d bytes accounted, the rows have %d", b.Slab.AccountedBytes, accounted)
	}
}

func TestTheKernelsBooksBecomeTheAccounts(t *testing.T) {
	got := BooksOf(kernel.TCPBooks{Alloc: 174, TCPSocks: 175, Pages: 20272, PageLimits: [3]int64{100, 200, 300}, SlabBytes: 7}, -272)
	want := HostBooks{Sockets: 174, TCPSocks: 175, Pages: 20272, CPUPages: -272, PageLimits: [3]int64{100, 200, 300}, SlabBytes: 7}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
