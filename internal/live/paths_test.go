package live

import (
	"slices"
	"testing"

	"github.com/connprof/connprof/loader"
)

// Code that is made at run time is made anew when it gets hot: what comes then must be recognised, and what was there first goes.
func TestThePathThatWasTaughtFirstMakesRoom(t *testing.T) {
	w := &ways{}
	const last = loader.StackWays + 3
	for number := uint32(1); number <= last; number++ {
		if _, others := w.next(); others {
			t.Fatalf("path %d is one of the others", number)
		}
		w.take(number)
	}
	want := []uint32{}
	for number := uint32(4); number <= last; number++ {
		want = append(want, number)
	}
	if slices.Sort(w.paths); !slices.Equal(w.paths, want) {
		t.Errorf("%v are recognised, want %v", w.paths, want)
	}
}

// What changes for ever is no warming up.
func TestTooManyPathsShareTheLastWay(t *testing.T) {
	w := &ways{}
	for number := range uint32(loader.StackWays + mostReplaced) {
		if _, others := w.next(); others {
			t.Fatalf("path %d is one of the others", number)
		}
		w.take(number + 1)
	}
	if way, others := w.next(); !others || way != loader.StackWays-1 {
		t.Errorf("the next one has way %d", way)
	}
	if w.take(7); !w.full || len(w.paths) != loader.StackWays {
		t.Errorf("%+v", w)
	}
}
