package main

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// BenchmarkRound has every contender open some connections, the plain pair among them. It needs root.
func BenchmarkRound(b *testing.B) {
	dir := b.TempDir()
	program := filepath.Join(dir, "connprof")
	if _, _, err := output(exec.Command("go", "build", "-o", program, "../../cmd/connprof")); err != nil {
		b.Fatal(err)
	}
	pair, err := buildPair(dir)
	if err != nil {
		b.Fatal(err)
	}
	contenders := append(connprofs(program, dir), pair)
	for b.Loop() {
		s, err := measure(contenders, 300, 1)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(s.rounds[0][with].cpuEach(), "cpu-µs/connection")
	}
}
