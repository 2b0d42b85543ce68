package report

import (
	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Cost is what the profiler itself took on one machine.
type Cost struct {
	Label string // whose, empty where there is one machine
	Facts []Fact
}

func costsOf(r *recording.Recording) []Cost {
	var costs []Cost
	for _, m := range profiled(r) {
		costs = append(costs, Cost{m.label, costFacts(m)})
	}
	return costs
}

func costFacts(m machine) []Fact {
	c, each := &m.Cost, format.None
	if n := m.Count(); n > 0 {
		total := float64(c.ProfilerRSSBytes) + float64(c.BPFMapBytes)
		each = format.Size(format.Ratio(total, float64(n))) + ", over " + format.Plural(n, "endpoint", "endpoints")
	}
	return []Fact{
		{Key: "process", Value: format.Size(float64(c.ProfilerRSSBytes)) + " resident"},
		{Key: "BPF maps", Value: format.Size(float64(c.BPFMapBytes))},
		{Key: "per endpoint", Value: each},
		{Key: "events", Value: format.Count(c.Events)},
		{Key: "walk", Value: format.Seconds(c.WalkSeconds)},
	}
}
