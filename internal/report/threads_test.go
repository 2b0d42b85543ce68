package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
)

// threaded is the sample as a run with a thread for each connection would leave it.
func threaded() *recording.Recording {
	r := sample()
	n := int64(near(r).Load.Established)
	near(r).Load.ServerCost = recording.ServerCost{ServerModel: recording.ModelThread, Threads: 20_040, ServerRSSBytes: 92 << 20,
		ContextSwitches: &recording.ContextSwitches{Client: recording.Switches{Voluntary: n / 10, Involuntary: n / 20},
			Server: recording.Switches{Voluntary: n * 5 / 4, Involuntary: n / 5}},
		Growth: &recording.MemoryGrowth{ServerUserBytes: 4100 * n, SlabBytes: 15_000 * n, KernelStackBytes: 16_384 * n, PageTableBytes: 50 * n}}
	near(r).Load.ComparedWith = &recording.Comparison{Established: int(n), ConnectsPerSecond: 2 * near(r).Load.ConnectsPerSecond,
		ServerCost: recording.ServerCost{ServerModel: recording.ModelEpoll, Threads: 8, ServerRSSBytes: 10 << 20,
			ContextSwitches: &recording.ContextSwitches{Client: recording.Switches{Voluntary: n / 5}, Server: recording.Switches{Voluntary: n / 10}},
			Growth:          &recording.MemoryGrowth{ServerUserBytes: 4 * n, SlabBytes: 7_500 * n, KernelStackBytes: -4 * n, PageTableBytes: 100 * n}}}
	threads := 7_300 * n
	near(r).Reconcile.SlabDeltaBytes += threads
	near(r).Reconcile.Threads = &recording.ThreadSlab{Bytes: threads, Caches: []recording.ThreadCacheGrown{
		{Cache: "pid", Objects: n, Bytes: 200 * n}, {Cache: "task_struct", Objects: n, Bytes: 7_100 * n}}}
	return r
}

func TestTwoServersStandSideBySide(t *testing.T) {
	wantLines(t, textOf(t, threaded(), TextOptions{}),
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
	if text := textOf(t, sample(), TextOptions{}); strings.Contains(text, "Two servers") || strings.Contains(text, "threads") {
		t.Errorf("a recording of one server speaks of two:\n%s", text)
	}
}

func TestThePageComparesTheServersToo(t *testing.T) {
	var b bytes.Buffer
	if err := HTML(&b, threaded()); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"two servers", "threads of the server: epoll 8, thread 20,040",
		"switches a connection, client, to wait: epoll 0.20, thread 0.10, 0.50 times",
		"bytes a connection, kernel stacks: epoll"} {
		if !strings.Contains(b.String(), text) {
			t.Errorf("the page does not say %q", text)
		}
	}
}

// What threads have in slab memory stays part of what the account of endpoints leaves open, and is told apart from the
// rest.
func TestTheThreadsSlabIsToldApart(t *testing.T) {
	text := textOf(t, threaded(), TextOptions{})
	wantLines(t, text, "of slab unexplained beside the threads'", "by the account of endpoints",
		"threads +139.2 MiB of that: task_struct 135.4 MiB, pid 3.81 MiB", "left +")
	plain, _ := unexplainedShare(sample())
	share, warn := unexplainedShare(threaded())
	if warn || plain == share {
		t.Errorf("%s of the growth is left, a warning %v; without threads %s of a smaller one", share, warn, plain)
	}
}
