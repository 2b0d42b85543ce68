package main

import (
	"fmt"
	"strings"
)

// The chart's measures, in SVG user units.
const (
	chartWidth, chartHeight = 720, 300
	left, right, top, base  = 60, 50, 30, 40
)

// series is one line of the chart, drawn to its own scale: what is told is whether it is straight.
type series struct {
	name, color, unit string
	of                func(point) float64
}

var allSeries = []series{
	{"seconds to the last connection", "#2563eb", "s", func(p point) float64 { return p.Load.ConnectSeconds }},
	{"slab pages of all endpoints", "#d97706", "GiB", func(p point) float64 { return p.pageBytes() / (1 << 30) }},
	{"the profiler's own memory", "#059669", "MiB", func(p point) float64 {
		return float64(p.Cost.ProfilerRSSBytes+p.Cost.BPFMapBytes) / (1 << 20)
	}},
	{"seconds for the account", "#7c3aed", "s", func(p point) float64 { return p.Cost.AccountSeconds }},
}

// draw puts all series over the number of connections; each one's largest value is at the top, and named.
func draw(points []point) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		chartWidth, chartHeight+20*len(allSeries))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	most := float64(points[len(points)-1].Load.Established)
	x := func(n float64) float64 { return left + n/most*(chartWidth-left-right) }
	y := func(share float64) float64 { return chartHeight - base - share*(chartHeight-base-top) }
	for _, p := range points {
		n := float64(p.Load.Established)
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#e5e7eb"/>`+"\n", x(n), top, x(n), chartHeight-base)
		if n >= most/5 {
			fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#374151">%s</text>`+"\n", x(n), chartHeight-base+16,
				thousands(int(n)))
		}
	}
	fmt.Fprintf(&b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#374151"/>`+"\n", left, chartHeight-base, chartWidth-right, chartHeight-base)
	for i, s := range allSeries {
		last := s.of(points[len(points)-1])
		var at []string
		for _, p := range points {
			at = append(at, fmt.Sprintf("%.1f,%.1f", x(float64(p.Load.Established)), y(s.of(p)/last)))
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(at, " "), s.color)
		for _, a := range at {
			cx, cy, _ := strings.Cut(a, ",")
			fmt.Fprintf(&b, `<circle cx="%s" cy="%s" r="3" fill="%s"/>`+"\n", cx, cy, s.color)
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s: %.1f %s at the right end</text>`+"\n", left, chartHeight+20*i, s.color,
			s.name, last, s.unit)
	}
	fmt.Fprintf(&b, `<text x="%d" y="18" fill="#111827">What grows with the number of connections, each to its own scale</text>`+"\n</svg>\n", left)
	return b.String()
}
