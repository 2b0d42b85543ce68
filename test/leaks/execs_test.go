package leaks

import (
	"slices"
	"strconv"
	"testing"
)

// Programs of Go are all at the same addresses: what a process was before it executed another one says nothing of that.
func TestAProgramThatBecomesAnotherIsNamedAsThat(t *testing.T) {
	for _, thread := range []string{"first", "other"} {
		t.Run("by its "+thread+" thread", func(t *testing.T) { becomesAnother(t, thread) })
	}
}

func becomesAnother(t *testing.T, thread string) {
	const first = 40
	s := newServer(t, here).serve(silent)
	shop := compiled(t, "shop", byGo("shop"))
	r := newRecord(t, "--duration", forever, "--", compiled(t, "execs", byGo("execs")), thread, s.port(), strconv.Itoa(first), shop,
		s.port(), strconv.Itoa(opens), seconds())
	r.tell(t)
	r.says(t, "done")
	pids := descendants(r.pid())
	want := all
	want.opened, want.closed = want.opened+first, want.closed+first
	s.saw(t, want.opened, want.closed)
	r.stdin.Close() // it ends, and is held until the record has seen what it has left open
	m := r.exits(t, exitDone).read(t)
	if got := total(m.Record); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	// What it opened before may have no names: it was another program by the time that they were read.
	for _, o := range m.Openers {
		if o.Comm == "execs" && len(o.Frames) > 0 && !slices.Contains(o.Frames, "main.openAsItself") {
			t.Errorf("execs is named %q", o.Frames)
		}
	}
	for function, want := range map[string]counts{"main.(*shop).leakOrders": leaked,
		"main.(*shop).poolUsers": pooled, "main.pollPrices": polled} {
		if got := sum(through(m, function, pids...)); got != want {
			t.Errorf("%s has %+v, want %+v", function, got, want)
		}
	}
}
