package report

import (
	"math"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Book is one of the kernel's own figures for the whole host, what the walk has of it, and what remains.
type Book struct {
	Name, Kernel, Found, Rest string
	How                       string // what each of the two is
	Warn                      bool
}

// booksOf are the four books, and that of connection tracking where the kernel has one.
func booksOf(m *recording.Machine) []Book {
	b := m.Books
	if b == nil {
		return nil
	}
	found := b.Sockets.Walked + b.Sockets.Unconnected
	pages := func(f float64) string {
		if math.IsNaN(f) || math.Abs(f) > math.MaxInt64/2 {
			return format.None
		}
		return format.Minus(format.Count(int64(math.Round(f))))
	}
	books := []Book{
		{"sockets", format.Count(b.Sockets.Alloc), format.Count(found), format.Minus(format.Count(b.Sockets.Unreachable)),
			"alloc in sockstat; " + format.Count(b.Sockets.Walked) + " in tables, " + format.Count(b.Sockets.Unconnected) +
				" by file alone", b.Sockets.Unreachable != 0},
		{"TCP, TCPv6", format.Count(b.TCPSocks.Slabinfo), format.Count(b.TCPSocks.Walked), format.Minus(format.Count(b.TCPSocks.Remainder())),
			"active in slabinfo, with the CPUs' stock", false},
		{"pages", format.Count(b.Pages.Kernel), pages(b.Pages.Summed), pages(b.Pages.Remainder()),
			"the protocol's, with each CPU's part; summed by socket", false},
		{"Slab", format.Size(float64(b.Slab.TotalBytes)), format.Size(float64(b.Slab.AccountedBytes)),
			format.Size(float64(b.Slab.Remainder())), "in meminfo, most of it not TCP's", false},
	}
	if l := m.Look; l != nil && (l.Tracked > 0 || l.TrackedBytes > 0) {
		books = append(books, Book{"conntrack", format.Count(int64(l.Tracked)), format.None, format.None, "entries, of " +
			format.Count(int64(l.TrackedMax)) + "; " + format.Size(float64(l.TrackedBytes)) + " of slab, in no socket's account", false})
	}
	return books
}
