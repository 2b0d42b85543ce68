package main

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// madeUp is rounds in which the profiler adds a fixed part and a slope, on a machine whose speed is another in each round.
func madeUp(connections int, fixed, slope float64) series {
	s := series{connections: connections}
	for _, drift := range []float64{14e-6, 30e-6, 15e-6} {
		base := drift * float64(connections)
		extra := fixed + slope*float64(connections)
		s.rounds = append(s.rounds, []sample{
			with:      {connections: connections, seconds: base + extra, cpuSeconds: 2 * (base + extra)},
			without:   {connections: connections, seconds: base, cpuSeconds: 2 * base},
			plainPair: {connections: connections, seconds: base / 2, cpuSeconds: base},
		})
		s.others = append(s.others, 0.25)
	}
	return s
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > 1e-9 {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestMedian(t *testing.T) {
	near(t, "of three", median([]float64{3, 1, 2}), 2)
	near(t, "of four", median([]float64{4, 1, 3, 2}), 2.5)
	if !math.IsNaN(median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

func TestFixedPartAndSlopeAreFoundWhateverTheMachinesSpeed(t *testing.T) {
	small, large := madeUp(20_000, 0.044, 0.5e-6), madeUp(150_000, 0.044, 0.5e-6)
	l := through(small.connections, small.extra(seconds), large.connections, large.extra(seconds))
	near(t, "fixed", l.fixed, 0.044)
	near(t, "slope", l.slope, 0.5e-6)
	text := lines([]series{large, small})
	for _, want := range []string{"by 20,000 and 150,000", "- time: 44.0 ms fixed and 0.50 µs", "- CPU time: 88.0 ms fixed and 1.00 µs"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if lines([]series{small}) != "" {
		t.Error("a slope of one number of connections")
	}
}

// The profiled run of a slow round is slower than the other's of a fast one: only ratios within a round tell anything.
func TestRatiosAreThoseWithinARound(t *testing.T) {
	s := madeUp(100_000, 0, 1.5e-6)
	got := s.ratios(with, without, sample.rate)
	for i, drift := range []float64{14, 30, 15} {
		near(t, "rate", got[i], drift/(drift+1.5))
	}
	near(t, "median", median(got), 15/16.5)
	near(t, "CPU", median(s.ratios(with, without, sample.cpuEach)), 16.5/15)
	near(t, "to the plain pair", median(s.ratios(without, plainPair, sample.rate)), 0.5)
}

func TestTableHasACellForEachColumn(t *testing.T) {
	contenders := []contender{{name: "with"}, {name: "without"}, {name: "plain"}}
	for n := 2; n <= 3; n++ {
		rows := strings.Split(strings.TrimSpace(table([]series{madeUp(1000, 0.01, 1e-6)}, contenders[:n])), "\n")
		for _, row := range rows {
			if strings.Count(row, "|") != strings.Count(rows[0], "|") {
				t.Errorf("%d contenders: %q has not the columns of %q", n, row, rows[0])
			}
		}
		if !strings.HasPrefix(rows[2], "| 1,000 | 3 | 25 % | ") {
			t.Errorf("%s", rows[2])
		}
	}
}

func TestEachContenderIsInEachPlaceEquallyOften(t *testing.T) {
	for n := 2; n <= 3; n++ {
		counts := map[[2]int]int{}
		for round := range 2 * n {
			o := order(round, n)
			if s := slices.Sorted(slices.Values(o)); !slices.Equal(s, []int{0, 1, 2}[:n]) {
				t.Fatalf("round %d of %d contenders: %v", round, n, o)
			}
			for place, who := range o {
				counts[[2]int{place, who}]++
			}
		}
		for at, times := range counts {
			if times != 2 {
				t.Errorf("%d contenders: place %d has contender %d %d times in %d rounds", n, at[0], at[1], times, 2*n)
			}
		}
	}
	if order(0, 2)[0] == order(1, 2)[0] {
		t.Error("the same contender is first twice in a row")
	}
}

func TestWhatOthersTookIsBusyTimeThatIsNotOurOwn(t *testing.T) {
	whole := othersShare(7, 3, 2*time.Second)
	near(t, "twice the time", othersShare(7, 3, 4*time.Second), whole/2)
	if whole <= 0 || othersShare(3, 7, time.Second) != 0 {
		t.Errorf("%v, and not 0 where all was our own", whole)
	}
}

func TestRunThatCannotBeComparedIsRefused(t *testing.T) {
	good := sample{connections: 10, seconds: 1, cpuSeconds: 1}
	if _, err := checked(good, 10); err != nil {
		t.Error(err)
	}
	for name, s := range map[string]sample{"short": {9, 1, 1, 0}, "no time": {10, 0, 1, 0}, "no CPU time": {10, 1, 0, 0}} {
		if _, err := checked(s, 10); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := parseSizes([]string{"20k"}); err == nil {
		t.Error("20k is taken for a number")
	}
}
