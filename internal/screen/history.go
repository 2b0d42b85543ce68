package screen

import (
	"math"
	"strings"
	"time"
)

// history is the last values of a figure, the oldest first.
type history struct {
	times  []time.Time
	values []float64
}

// kept is how many values a history has at most.
const kept = 120

func (h *history) add(at time.Time, v float64) {
	if len(h.values) == kept {
		copy(h.times, h.times[1:])
		copy(h.values, h.values[1:])
		h.times, h.values = h.times[:kept-1], h.values[:kept-1]
	}
	h.times, h.values = append(h.times, at), append(h.values, v)
}

var bars = []rune("▁▂▃▄▅▆▇█")

// line draws the last values as so many bars, the highest of them as the full one. What is always the same is flat.
func (h *history) line(width int) string {
	values := h.values[max(0, len(h.values)-width):]
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	var b strings.Builder
	for _, v := range values {
		bar := bars[0]
		if high > low {
			bar = bars[int(math.Round((v-low)/(high-low)*float64(len(bars)-1)))]
		}
		b.WriteRune(bar)
	}
	return b.String()
}

// Bounds on what counts as steady growth.
const (
	steadyValues = 10
	steadyTime   = 20 * time.Second
	steadyFit    = 0.9 // of R², how well a line explains the values
)

// growth is by how much the figure grows a second: false where it does not grow steadily.
func (h *history) growth() (perSecond float64, steady bool) {
	n := len(h.values)
	if n < steadyValues || h.times[n-1].Sub(h.times[0]) < steadyTime {
		return 0, false
	}
	var x, y, xx, xy, yy float64
	for i, v := range h.values {
		t := h.times[i].Sub(h.times[0]).Seconds()
		x, y, xx, xy, yy = x+t, y+v, xx+t*t, xy+t*v, yy+v*v
	}
	count := float64(n)
	sx, sy, sxy := xx-x*x/count, yy-y*y/count, xy-x*y/count
	if sx <= 0 || sy <= 0 || sxy <= 0 || sxy*sxy/(sx*sy) < steadyFit {
		return 0, false
	}
	return sxy / sx, true
}

// farthest is the longest time that is worth telling: what grows as slowly as that may be anything.
const farthest = 30 * 24 * time.Hour

// full is when a figure that grows steadily comes to a limit: false where it does not within a month.
func (h *history) full(limit float64) (time.Duration, bool) {
	perSecond, steady := h.growth()
	if !steady {
		return 0, false
	}
	left := max(limit-h.values[len(h.values)-1], 0)
	if seconds := left / perSecond; seconds < farthest.Seconds() {
		return time.Duration(seconds * float64(time.Second)), true
	}
	return 0, false
}
