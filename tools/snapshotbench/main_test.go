package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestMain is also the process that holds connections: the benchmark starts its own program again.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == holder {
		n, err := strconv.Atoi(os.Args[2])
		if err == nil {
			err = hold(n)
		}
		exit(err)
	}
	os.Exit(m.Run())
}

func TestARatioIsThatOfTheMedians(t *testing.T) {
	r := result{}
	for _, ms := range []time.Duration{9, 1, 2, 3} {
		r.own = append(r.own, cost{ms * time.Millisecond, 2 * ms * time.Millisecond})
		r.other = append(r.other, cost{10 * ms * time.Millisecond, 10 * ms * time.Millisecond})
	}
	r.own = append(r.own, cost{100 * time.Millisecond, 0})
	if got := fmt.Sprintf("%.4f %.4f", r.ratio(wall), r.ratio(cpu)); got != "8.3333 6.2500" {
		t.Errorf("ratios %s, want those of 25 to 3 and of 25 to 4 ms", got)
	}
}

func BenchmarkSnapshotBesideSs(b *testing.B) {
	program := filepath.Join(b.TempDir(), "connprof")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/connprof").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	w, err := newWorld(2000, 4, 2)
	if err != nil {
		b.Fatal(err)
	}
	defer w.close()
	for b.Loop() {
		r, err := measure(program, w.networks[0], 1)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(r.ratio(cpu), "ss/connprof-cpu")
	}
}
