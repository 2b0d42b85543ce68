package experiment

import (
	"os"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func objectCounts(rec *recording.Machine, role kernel.Role, state string) (endpoints int, objects map[string]int) {
	objects = map[string]int{}
	for _, row := range rec.Endpoints {
		if row.Role == role && row.State == state {
			endpoints += row.Count
			for _, o := range row.Objects {
				objects[o.Type] += o.Count
			}
		}
	}
	return endpoints, objects
}

// preemptible tells whether this kernel may preempt a tracepoint program, which it then skips for other tasks and counts.
func preemptible(t *testing.T) bool {
	t.Helper()
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	return strings.HasPrefix(string(release), "7.2.")
}
