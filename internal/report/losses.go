package report

import (
	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Losses is what was missed on one machine, or that nothing was on either.
type Losses struct {
	Label string
	Lost  uint64
	None  string // what to say where nothing was
	Facts []Fact
}

func lossesOf(r *recording.Recording) []Losses {
	machines := profiled(r)
	if len(machines) > 1 && r.Lost() == 0 {
		return []Losses{{None: "none, on either machine", Facts: lossFacts(&machines[0].Losses)}}
	}
	views := make([]Losses, len(machines))
	for i, m := range machines {
		views[i] = Losses{m.label, m.Losses.Total(), "none", lossFacts(&m.Losses)}
	}
	return views
}

// lossFacts are the counters of what was missed, with what each means for the figures.
func lossFacts(l *recording.Losses) []Fact {
	kinds := []struct {
		key  string
		n    uint64
		what string
	}{
		{"ring full", l.RingFull, "events for which the ring had no room"},
		{"map full", l.MapFull, "call sites and slab caches that found no place in their tables"},
		{"recursion", l.RecursionMisses, "probe runs the kernel skipped inside another"},
		{"stacks", l.StackFailures, "sampled stacks not taken whole"},
		{"walk", l.WalkSkipped, "endpoints met but not followed"},
		{"accepts", l.AcceptMisses, "accepted ends whose process is not known"},
	}
	facts := make([]Fact, len(kinds))
	for i, k := range kinds {
		facts[i] = Fact{k.key, format.Count(k.n) + " " + k.what, k.n > 0}
	}
	return facts
}
