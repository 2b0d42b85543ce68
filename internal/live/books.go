package live

import (
	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
)

// readBooks reads the kernel's own figures. What cannot be read is a note, and the figures that it would have given are 0.
func (l *look) readBooks() account.HostBooks {
	books, errs := kernel.ReadTCPBooks()
	for _, err := range errs {
		l.note("%v: that part of the books is missing", err)
	}
	pages, err := l.probes.CPUPages()
	if err != nil {
		l.note("%v: the books leave out the pages that CPUs keep", err)
	}
	if books.TCPSocksShared {
		l.note("the slab cache of TCP's sockets is merged with others: active objects in slabinfo are not TCP's alone")
	}
	at := l.machine.Look
	at.Orphans, at.OrphansMax, at.TimeWaits, at.TimeWaitsMax = books.Orphans, books.MaxOrphans, books.TimeWait, books.MaxTimeWait
	at.Tracked, at.TrackedMax, at.TrackedBytes = books.Tracked, books.MaxTracked, books.TrackedBytes
	return account.BooksOf(books, pages)
}
