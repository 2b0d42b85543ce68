package cli

import (
	"math"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
)

// shares are the paths of a recording's graph, each with its share of all bytes.
func shares(rec *recording.Machine) map[string]float64 {
	total := 0.0
	paths := map[string]float64{}
	for _, s := range rec.Stacks {
		paths[strings.Join(append([]string{s.Role.String(), s.Type}, s.Frames...), "\n")] += float64(s.Bytes)
		total += float64(s.Bytes)
	}
	for p := range paths {
		paths[p] /= total
	}
	return paths
}

// Two runs of the same differ by what the report states as the standard error of each: four times that is chance once
// in thousands of runs. What the kernel does does not depend on chance alone: a busy machine hands more packets to
// ksoftirqd, so another four are allowed for that.
func TestTheSameRunTwiceGivesTheSameGraph(t *testing.T) {
	first := mainJob(t).recording
	cmd := command(t, "run", "--ips", "20", "--conns", "20k", "-o", "rec.json")
	finish(t, cmd).exits(t, exitDone)
	second := readOne(t, cmd.Dir+"/rec.json")
	a, b := shares(first), shares(second)
	for p := range b {
		a[p] += 0
	}
	sum := 0.0
	for p := range a {
		sum += (a[p] - b[p]) * (a[p] - b[p])
	}
	apart, stated := math.Sqrt(sum), math.Hypot(first.Sampling.ErrorRatio, second.Sampling.ErrorRatio)
	t.Logf("the graphs are %.2f %% apart, the stated error of both is %.2f %%", 100*apart, 100*stated)
	if stated <= 0 || apart > 8*stated {
		t.Errorf("the graphs are %.2f %% apart, the stated error of both is %.2f %%", 100*apart, 100*stated)
	}
	for _, rec := range []*recording.Machine{first, second} {
		if rec.Sampling.SymbolisedRatio < 0.99 {
			t.Errorf("%.2f %% of the bytes lie under symbolised frames, want 99 %%", 100*rec.Sampling.SymbolisedRatio)
		}
	}
}

// What memory the run was expected to need is what its endpoints then take.
func TestMainJobsPlanIsWhatItTakes(t *testing.T) {
	rec := mainJob(t).recording
	var pages uint64
	for _, row := range rec.Endpoints {
		pages += row.PageBytes
	}
	for _, p := range rec.Plan {
		if p.Limit == "memory" {
			if p.Need < pages || p.Need > pages*13/10 || p.Have == 0 || p.Verdict != "ok" { // a tenth is the host's
				t.Errorf("%+v, and the endpoints take %d bytes", p, pages)
			}
			return
		}
	}
	t.Errorf("memory is not in the plan: %+v", rec.Plan)
}

// The budget: 64 MiB and 128 bytes an endpoint, user memory and maps together.
func TestMainJobsProfilerStaysWithinItsMemory(t *testing.T) {
	rec := mainJob(t).recording
	used, most := rec.Cost.ProfilerRSSBytes+rec.Cost.BPFMapBytes, uint64(64<<20+128*2*jobConns)
	if used == 0 || used > most {
		t.Errorf("the profiler took %d bytes for %d endpoints, want %d at most", used, 2*jobConns, most)
	}
}
