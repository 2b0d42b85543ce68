package text

import (
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/report/sample"
)

func TestTwoServersStandSideBySide(t *testing.T) {
	sample.Has(t, textOf(t, sample.Threaded(), Format{}),
		"Two servers epoll, and a thread for each connection · 20,000",
		"epoll thread thread/epoll",
		"connections/s 86,580 43,290 0.50",
		"threads of the server 8 20,040",
		"switches a connection: server, to wait 0.10 1.25 12.50",
		"server, displaced 0.00 0.20",
		"client, to wait 0.20 0.10 0.50",
		"bytes a connection: slab 7,500 15,000 2.00",
		"kernel stacks −4 16,384", // less than none is the rest of the host's doing
		"server's user space 4 4,100 together",
		"together 7,600 35,534 4.68")
	if text := textOf(t, sample.New(), Format{}); strings.Contains(text, "Two servers") || strings.Contains(text, "threads") {
		t.Errorf("a recording of one server speaks of two:\n%s", text)
	}
}

// What threads have in slab memory stays part of what the account of endpoints leaves open, and is told apart from the
// rest.
func TestTheThreadsSlabIsToldApart(t *testing.T) {
	text := textOf(t, sample.Threaded(), Format{})
	sample.Has(t, text, "of slab unexplained beside the threads'", "by the account of endpoints",
		"threads +139.2 MiB of that: task_struct 135.4 MiB, pid 3.81 MiB", "left +")
	// The share is of a growth that has the threads' part in it: the same bytes are left, and are less of it.
	sample.Has(t, textOf(t, sample.New(), Format{}), "unexplained +1.57 MiB, +1.0 % of the growth")
	sample.Has(t, text, "left +1.57 MiB, +0.5 % of the growth")
}
