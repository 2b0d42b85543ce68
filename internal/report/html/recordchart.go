package html

import (
	"fmt"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// newRecordChart is a record over time: what was opened and closed each second, and what was open.
func newRecordChart(points []recording.RecordPoint) *chart {
	points = spread(points, maxPoints)
	var opened, closed, open []float64
	var d chartData
	for i, p := range points {
		d.Seconds = append(d.Seconds, finite(p.Seconds))
		before := points[max(i-1, 0)]
		span := finite(p.Seconds) - finite(before.Seconds)
		opened = append(opened, max(format.Ratio(float64(p.Opened)-float64(before.Opened), span), 0))
		closed = append(closed, max(format.Ratio(float64(p.Closed)-float64(before.Closed), span), 0))
		open = append(open, max(float64(p.Opened)-float64(p.Closed), 0))
	}
	if len(points) > 1 { // the first has no second before it
		opened[0], closed[0] = opened[1], closed[1]
	}
	for i := range points {
		d.Moments = append(d.Moments, fmt.Sprintf("%s · %s opened/s · %s closed/s · %s open", format.Seconds(d.Seconds[i]),
			figure(opened[i]), figure(closed[i]), figure(open[i])))
	}
	time := span(d.Seconds, 0)
	d.Series, d.Ranges = [][]float64{opened, closed, open}, [][]float64{time}
	c := &chart{Ticks: timeTicks(time)}
	for i, p := range []struct{ title, unit, class string }{{"Opened", "a second", "opened"}, {"Closed", "a second, failed among them", "closed"},
		{"Open", "of what was opened since the beginning", "open"}} {
		a := niceAxis(d.Series[i], 10)
		d.Ranges = append(d.Ranges, []float64{a.low, a.high})
		c.Panels = append(c.Panels, newPanel(p.title, p.unit, p.class, d.Seconds, d.Series[i], time, a, figure))
	}
	c.Data = d
	return c
}

// figure writes a count or a rate: with a decimal where it is small.
func figure(v float64) string {
	if v < 10 && v != float64(int64(v)) {
		return format.Decimal(v)
	}
	return format.Count(int64(min(v, 1<<53)))
}

// spread keeps at most so many of a list, the first and the last among them.
func spread[T any](list []T, most int) []T {
	if len(list) <= most {
		return list
	}
	kept := make([]T, most)
	for i := range kept {
		kept[i] = list[i*(len(list)-1)/(most-1)]
	}
	return kept
}
