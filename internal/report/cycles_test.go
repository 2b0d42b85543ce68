package report_test

import (
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/sample"
)

// cycled is the sample, opened and closed five times, with so many more dentries each time.
func cycled(dentries int64) *recording.Recording {
	r := sample.New()
	dying := int64(2)
	c := &recording.Cycles{Closed: 80_000, Idle: recording.Idle{Seconds: 5, Readings: 4}, DyingCgroups: &dying}
	grown := recording.StayCache{Cache: "dentry", Types: []string{"dentry"}, ObjectBytes: 192}
	for i := range int64(4) {
		c.Each = append(c.Each, recording.Cycle{Seconds: float64(2 * (i + 1)), Closed: 20_000, SlabBytes: (i + 1) << 20, ErrorBytes: 200 << 10})
		grown.Left, grown.Errors = append(grown.Left, (i+1)*dentries), append(grown.Errors, 90)
		grown.InSockets = append(grown.InSockets, 0)
	}
	c.Caches = []recording.StayCache{grown}
	r.Machines[0].Cycles = c
	return r
}

func TestWhatGrowsWithEachCycleIsNamed(t *testing.T) {
	r := cycled(20_000)
	if c := report.New(r).Cycles; !c.Warn || len(c.Times) != 4 {
		t.Errorf("%+v", c)
	}
	sample.Has(t, textOf(t, r), "Beyond the error, 1 slab cache has grown after 80,000 more connections closed: dentry +80,000 (1.00 a connection).",
		"80,000 connections in 4 cycles after the first, in 8.00 s; 0 failed", "cycle 2 cycle 3 cycle 4 cycle 5 error each",
		"dentry dentry +20,000 +40,000 +60,000 +80,000 ±90 1.00", "+2 deleted ones that are not freed")
	sample.Has(t, htmlOf(t, r), "<h2>What grew</h2>", `<tr class="warn"><td class="k">dentry</td>`, "<td>cycle 5</td>")
}

func TestWithinTheErrorNothingGrows(t *testing.T) {
	r := cycled(20)
	r.Machines[0].Cycles.DyingCgroups = nil
	r.Machines[0].Cycles.Each[1].Failed = 3
	if c := report.New(r).Cycles; c.Warn {
		t.Errorf("%+v", c)
	}
	sample.Has(t, textOf(t, r), "Nothing grew: after 80,000 more connections closed no slab cache holds one object more for a hundred "+
		"connections, beyond the error.", "3 failed", "how many are dying is not known")
	if text := textOf(t, sample.New()); strings.Contains(text, "What grew") {
		t.Error("a run of one cycle tells what grew")
	}
}

func TestManyCyclesHaveAFewColumns(t *testing.T) {
	r := cycled(20)
	c := r.Machines[0].Cycles
	for range 95 {
		c.Each = append(c.Each, c.Each[3])
		c.Caches[0].Left, c.Caches[0].Errors = append(c.Caches[0].Left, 80), append(c.Caches[0].Errors, 90)
	}
	sample.Has(t, textOf(t, r), "cycle 25 cycle 50 cycle 75 cycle 100 error")
}
