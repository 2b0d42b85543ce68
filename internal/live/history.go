package live

import (
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// moment is what was counted up to a time since the beginning.
type moment struct {
	at    time.Duration
	point recording.RecordPoint
	live  map[kernel.OpenerID]int // open, by opener
}

// history keeps moments at equal distances, whatever the whole time will be: when there are too many, every other one goes and the
// distance doubles.
type history struct {
	moments []moment
	every   time.Duration
}

const (
	mostMoments  = 64
	firstMoments = 100 * time.Millisecond
)

// due tells whether it is time for the next moment.
func (h *history) due(at time.Duration) bool {
	if h.every == 0 {
		h.every = firstMoments
	}
	return len(h.moments) == 0 || at >= h.moments[len(h.moments)-1].at+h.every
}

func (h *history) add(m moment) {
	h.moments = append(h.moments, m)
	if len(h.moments) < mostMoments {
		return
	}
	kept := h.moments[:0]
	for i := 0; i < len(h.moments); i += 2 {
		kept = append(kept, h.moments[i])
	}
	clear(h.moments[len(kept):])
	h.moments = kept
	h.every *= 2
}

// tenths are the moments nearest to the end of each tenth but the last, of which the counts at the end are.
func (h *history) tenths(whole time.Duration) (list [9]*moment) {
	for i := range list {
		end := whole * time.Duration(i+1) / 10
		var best *moment
		for k := range h.moments {
			m := &h.moments[k]
			if best == nil || (m.at-end).Abs() < (best.at-end).Abs() {
				best = m
			}
		}
		list[i] = best
	}
	return list
}

// timeline is the sums at each moment.
func (h *history) timeline(end recording.RecordPoint) []recording.RecordPoint {
	list := []recording.RecordPoint{{}}
	for _, m := range h.moments {
		if m.at > 0 {
			list = append(list, m.point)
		}
	}
	return append(list, end)
}
