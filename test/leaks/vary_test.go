package leaks

import (
	"strconv"
	"testing"

	"github.com/connprof/connprof/internal/recording"
)

// A program whose every connection has another stack is counted to the last, in bounded memory: what begins like hundreds of others is one path.
func TestEverDifferentStacksAreCounted(t *testing.T) {
	const opened, kept = 15_000, 10
	s := newServer(t, here).serve(silent)
	r := newRecord(t, "--duration", forever, "--", compiled(t, "vary", byCompiler("gcc", "vary.c", "-O2")), s.port(), strconv.Itoa(opened))
	r.tell(t)
	r.says(t, "done")
	pids := descendants(r.pid())
	s.saw(t, opened, opened-kept)
	m := r.ends(t)
	want := counts{opened: opened, closed: opened - kept, live: kept}
	if got := total(m.Record); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := sum(owned(clients(m), pids...)); got != want {
		t.Errorf("by code path %+v, want %+v", got, want)
	}
	stacks := m.Record.Stacks
	if stacks.Whole+stacks.Part+stacks.None != opened || stacks.Whole < 500 {
		t.Errorf("stacks: %+v", stacks)
	}
	whole := 0
	for _, o := range m.Openers {
		if o.Stack == recording.StackWhole && o.Opened == 1 {
			whole++
		}
	}
	t.Logf("%d paths of one connection, %d of %d opens have a whole stack, %d MiB", whole, stacks.Whole, opened, m.Cost.ProfilerRSSBytes>>20)
}
