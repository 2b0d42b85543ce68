package live

import (
	"testing"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// However long it takes, a history has a bounded number of moments, and one near the end of each tenth.
func TestAHistoryKeepsMomentsNearEachTenth(t *testing.T) {
	for _, whole := range []time.Duration{2 * time.Second, time.Minute, 24 * time.Hour} {
		var h history
		id := kernel.PathOf(1, 2)
		for at := time.Duration(0); at < whole; at += tick {
			if h.due(at) {
				h.add(moment{at: at, point: recording.RecordPoint{Seconds: at.Seconds()}, live: map[kernel.OpenerID]int{id: int(at)}})
			}
		}
		if len(h.moments) > mostMoments || len(h.moments) < 10 {
			t.Errorf("%v: %d moments", whole, len(h.moments))
		}
		for i, m := range h.tenths(whole) {
			if end := whole * time.Duration(i+1) / 10; (m.at-end).Abs() > whole/20 || m.live[id] != int(m.at) {
				t.Errorf("%v: the moment for tenth %d is %v", whole, i+1, m.at)
			}
		}
		line := h.timeline(recording.RecordPoint{Seconds: whole.Seconds()})
		for i := 1; i < len(line); i++ {
			if line[i].Seconds <= line[i-1].Seconds {
				t.Errorf("%v: %v s after %v s", whole, line[i].Seconds, line[i-1].Seconds)
			}
		}
	}
}
