package report

import (
	"fmt"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Cycles is what slab memory grew by as connections were opened and closed again and again.
type Cycles struct {
	Verdict string // empty where nobody asked
	Warn    bool
	Facts   []Fact
	Times   []CycleLine
	Heads   []string // the times that the caches have a column for
	Caches  []StayLine
	Rest    string // what is left out of Caches, empty for nothing
}

// CycleLine is one time that all were opened and closed.
type CycleLine struct {
	Cycle, Closed, Failed, Slab, Error string
	Warn                               bool
}

func cyclesOf(r *recording.Recording) Cycles {
	for _, m := range r.Machines {
		if c := m.Cycles; c != nil && len(c.Each) > 0 {
			return newCycles(c)
		}
	}
	return Cycles{}
}

func newCycles(c *recording.Cycles) Cycles {
	view := Cycles{Facts: cycleFacts(c)}
	view.Verdict, view.Warn = cycleVerdict(c)
	for i := range c.Each {
		e := &c.Each[i]
		view.Times = append(view.Times, CycleLine{Cycle: cycleName(i), Closed: format.Count(e.Closed), Failed: format.Count(e.Failed),
			Slab: format.SignedSize(float64(e.SlabBytes)), Error: "± " + format.Size(float64(e.ErrorBytes)), Warn: e.Failed > 0})
	}
	columns := cycleColumns(len(c.Each))
	for _, i := range columns {
		view.Heads = append(view.Heads, cycleName(i))
	}
	view.Caches, view.Rest = stayLines(c.Caches, columns, columns, c.Closed)
	return view
}

// cycleName counts the first time of all, which is not in the list.
func cycleName(i int) string { return "cycle " + format.Count(i+2) }

// mostCycleColumns is how many times have a column.
const mostCycleColumns = 4

// cycleColumns are times spread evenly over n, the last among them.
func cycleColumns(n int) (columns []int) {
	most := min(n, mostCycleColumns)
	for i := range most {
		columns = append(columns, (i+1)*n/most-1)
	}
	return columns
}

func cycleFacts(c *recording.Cycles) []Fact {
	last := &c.Each[len(c.Each)-1]
	failed := 0
	for i := range c.Each {
		failed += c.Each[i].Failed
	}
	facts := []Fact{
		{Key: "closed", Value: fmt.Sprintf("%s in %s after the first, in %s; %s failed", format.Plural(c.Closed, "connection", "connections"),
			format.Plural(len(c.Each), "cycle", "cycles"), format.Seconds(last.Seconds), format.Count(failed)), Warn: failed > 0},
		{Key: "Slab", Value: fmt.Sprintf("%s of the whole host, ± %s", format.SignedSize(float64(last.SlabBytes)),
			format.Size(float64(last.ErrorBytes)))},
		{Key: "error", Value: fmt.Sprintf("the widest range in %s of %s without connections, between the first and the second",
			format.Plural(c.Idle.Readings, "reading", "readings"), format.Seconds(c.Idle.Seconds)), Warn: c.Idle.Readings < 2},
	}
	if n := c.DyingCgroups; n != nil {
		return append(facts, Fact{Key: "cgroups", Value: format.Signed(*n) + " deleted ones that are not freed, on the whole host"})
	}
	return append(facts, Fact{Key: "cgroups", Value: "how many are dying is not known: the kernel tells it where cgroup2 is mounted"})
}

func cycleVerdict(c *recording.Cycles) (verdict string, warn bool) {
	names, count := stayNames(c.Caches, len(c.Each)-1, c.Closed)
	if count == 0 {
		return fmt.Sprintf("Nothing grew: after %s closed no slab cache holds one object more for a hundred connections, beyond the error.",
			format.Plural(c.Closed, "more connection", "more connections")), false
	}
	return fmt.Sprintf("Beyond the error, %s after %s closed: %s.", format.Plural(count, "slab cache has grown", "slab caches have grown"),
		format.Plural(c.Closed, "more connection", "more connections"), names), true
}
