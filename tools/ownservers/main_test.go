package main

import (
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// A row is bytes a connection, of the run in the middle.
func TestARowIsOfOneConnection(t *testing.T) {
	run := func(user int64) *recording.Machine {
		return &recording.Machine{
			Endpoints: []recording.EndpointRow{{Role: kernel.RoleClient, PageBytes: 4000 * 10}, {Role: kernel.RoleServer, PageBytes: 3000 * 10}},
			Load: &recording.Load{Established: 10, Server: &recording.Server{CPUSeconds: 0.001, Memory: recording.ServerMemory{Processes: 2, Threads: 3},
				Growth: recording.ServerMemory{PSSBytes: user * 10, PageTableBytes: 100, KernelStackBytes: 0}}}}
	}
	var b strings.Builder
	heading(&b)
	server{name: "it"}.row(&b, []*recording.Machine{run(900), run(500), run(700)})
	const want = "| it | 10 | 4000 B | 3000 B | 700 B | 10 B | 0 B | 2, 3 | 100 µs |\n"
	if lines := strings.SplitAfter(b.String(), "\n"); lines[2] != want || strings.Count(lines[0], "|") != strings.Count(want, "|") {
		t.Errorf("%s", b.String())
	}
}
