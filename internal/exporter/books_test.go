package exporter

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report/sample"
)

// value is the value of a metric that has one series.
func value(t *testing.T, s *Sight, name string) float64 {
	t.Helper()
	rows := gather(t, s, name)
	if len(rows) != 1 {
		t.Fatalf("%d series of %s, want 1", len(rows), name)
	}
	return rows[0].GetGauge().GetValue()
}

// What the books leave over is what the figures in a recording leave over, which snapshot --json prints.
func TestWhatIsUnexplainedIsWhatASnapshotsBooksLeaveOver(t *testing.T) {
	r := sample.Live()
	var printed bytes.Buffer
	if err := r.Write(&printed); err != nil {
		t.Fatal(err)
	}
	var read struct {
		Machines []struct {
			Books struct {
				Slab struct {
					Total     float64 `json:"total_bytes"`
					Accounted float64 `json:"accounted_bytes"`
				} `json:"slab"`
				Pages struct {
					Kernel float64 `json:"kernel"`
					Summed float64 `json:"summed"`
				} `json:"pages"`
				Socks struct {
					Slabinfo float64 `json:"slabinfo"`
					Walked   float64 `json:"walked"`
				} `json:"tcp_socks"`
			} `json:"books"`
		} `json:"machines"`
	}
	if err := json.Unmarshal(printed.Bytes(), &read); err != nil {
		t.Fatal(err)
	}
	b := read.Machines[0].Books
	s := &Sight{Machine: r.Machines[0], At: time.Now()}
	for name, want := range map[string]float64{"connprof_unexplained_bytes": b.Slab.Total - b.Slab.Accounted,
		"connprof_unexplained_tcp_memory_bytes": (b.Pages.Kernel - b.Pages.Summed) * float64(os.Getpagesize()),
		"connprof_unexplained_socks":            b.Socks.Slabinfo - b.Socks.Walked} {
		if got := value(t, s, name); got != want || want == 0 {
			t.Errorf("%s is %v, the recording's books leave over %v", name, got, want)
		}
	}
}

// A sum is no figure where one of its parts could not be read; one below zero is a figure.
func TestABookThatCouldNotBeReadHasNoRemainder(t *testing.T) {
	s := &Sight{Machine: &recording.Machine{Books: &recording.Books{Slab: recording.SlabBook{AccountedBytes: 5},
		TCPSocks: recording.TCPSockBook{Slabinfo: 3, Walked: 7}}}}
	if names := families(t, s); names["connprof_unexplained_bytes"] || !names["connprof_unexplained_socks"] {
		t.Errorf("%v", names)
	}
	if got := value(t, s, "connprof_unexplained_socks"); got != -4 {
		t.Errorf("%v, want -4", got)
	}
}
