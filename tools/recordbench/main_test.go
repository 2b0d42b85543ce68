package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain is also both ends of the loop of accept(): the benchmark starts its own program again.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == acceptLoop {
		exit(acceptAll(os.Args[2]))
	}
	os.Exit(m.Run())
}

func TestExtraIsTheMedianOfWhatRoundsAdd(t *testing.T) {
	s := series{workload: workload{what: "load"}, rounds: [][]sample{
		{{100, 200, 10}, {110, 210, 10}}, {{50, 100, 20}, {60, 100, 20}}, {{200, 400, 30}, {202, 440, 30}},
	}}
	got := s.row(1, watcher{name: "record"})
	want := "| load | `record` | 3 | 110.0 | +10.0 % | +1.0 % | +20.0 % | 210.0 | +5.0 % | 20 |\n"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if nobody := s.row(0, watcher{}); strings.Contains(nobody, "%") {
		t.Errorf("nobody adds something: %s", nobody)
	}
}

func TestEveryWatcherIsFirstOnce(t *testing.T) {
	first := map[int]bool{}
	for round := range 3 {
		list := order(round, 3)
		first[list[0]] = true
		if slices.Sort(list); !slices.Equal(list, []int{0, 1, 2}) {
			t.Errorf("round %d: %v", round, list)
		}
	}
	if len(first) != 3 {
		t.Errorf("first are %v", first)
	}
}

func TestTheNumberOfRequestsIsWrks(t *testing.T) {
	n, err := requestsIn("Running 3s test\n  17934 requests in 3.01s, 2.2MB read\nRequests/sec:   5958.2\n")
	if n != 17934 || err != nil {
		t.Errorf("%d requests, %v", n, err)
	}
	if _, err := requestsIn("unable to connect"); err == nil {
		t.Error("nothing is taken for a number")
	}
}

// BenchmarkRound has each watcher that is connprof's watch the loop of accept() once. It needs root.
func BenchmarkRound(b *testing.B) {
	dir := b.TempDir()
	program := filepath.Join(dir, "connprof")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/connprof").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	watchers := watchersOf(program, dir)[:3]
	for b.Loop() {
		s, err := workloads(dir, 1)[2].measure(watchers, 1)
		if err != nil {
			b.Fatal(err)
		}
		for who, w := range watchers[1:] {
			b.ReportMetric(s.extra(who+1, own)[0], strings.ReplaceAll(w.name, " ", "-")+"-%")
		}
	}
}
