package html

import (
	"math"
	"strconv"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/report"
)

// maxPoints is as many samples as a chart can show; a long hold has many more.
const maxPoints = 600

// chart is the run over time: two panels that share the time axis, because connections and bytes have no common scale.
type chart struct {
	Label  string // whose, empty where there is one machine
	Panels []panel
	Ticks  []tick // of the time axis
	Data   chartData
}

// panel is one chart. Its SVG is 1000 wide and 100 high, stretched to the page by the browser.
type panel struct {
	Title, Unit string
	Line, Area  string // SVG path data
	Ticks       []tick
	Class       string
}

// tick is a label at a place in percent, from the left or from the bottom.
type tick struct {
	At    string
	Label string
}

// chartData is what the crosshair shows.
type chartData struct {
	Seconds     []float64   `json:"seconds"`
	Established []int       `json:"established,omitempty"`
	Growth      []float64   `json:"growth,omitempty"` // slab bytes since the first sample
	Slab        []uint64    `json:"slab,omitempty"`
	Ranges      [][]float64 `json:"ranges"` // of seconds, established, growth: lowest and highest
	// Series and Moments take the place of Established and the others in a record: a list for each panel, and what the crosshair says.
	Series  [][]float64 `json:"series,omitempty"`
	Moments []string    `json:"moments,omitempty"`
}

func newChart(t report.Timeline) *chart {
	points := spread(t.Points, maxPoints)
	var d chartData
	for _, p := range points {
		d.Seconds = append(d.Seconds, finite(p.Seconds))
		d.Established = append(d.Established, p.Established)
		d.Slab = append(d.Slab, p.SlabBytes)
		d.Growth = append(d.Growth, float64(p.SlabBytes)-float64(points[0].SlabBytes))
	}
	up := make([]float64, len(points))
	for i, n := range d.Established {
		up[i] = float64(n)
	}
	time := span(d.Seconds, 0)
	conns := niceAxis(up, 10)
	bytes := niceAxis(d.Growth, 2)
	d.Ranges = [][]float64{time, {conns.low, conns.high}, {bytes.low, bytes.high}}
	since := "growth since the first sample, from " + format.Size(float64(points[0].SlabBytes))
	whole := func(v float64) string { return format.Count(int64(v)) }
	return &chart{Label: t.Label, Data: d, Ticks: timeTicks(time), Panels: []panel{
		newPanel("Connections", "established", "conns", d.Seconds, up, time, conns, whole),
		newPanel("Slab memory", since, "slab", d.Seconds, d.Growth, time, bytes, shortSize),
	}}
}

// finite keeps a forged time from becoming an axis without an end; 1e9 s are 31 years.
func finite(f float64) float64 {
	if math.IsNaN(f) {
		return 0
	}
	return min(max(f, -1e9), 1e9)
}

// span is the lowest and highest value, the given one included, and never empty.
func span(values []float64, include float64) []float64 {
	low, high := include, include
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	if low == high {
		high = low + 1
	}
	return []float64{low, high}
}

type axis struct{ low, high, step float64 }

// niceAxis takes steps of 1, 2 or 5 times a power of ten, or powers of two for bytes, so that labels are round.
func niceAxis(values []float64, base float64) axis {
	s := span(values, 0)
	step := niceStep((s[1]-s[0])/3, base)
	return axis{math.Floor(s[0]/step) * step, math.Ceil(s[1]/step) * step, step}
}

func niceStep(raw, base float64) float64 {
	if base == 2 {
		unit := math.Pow(1024, math.Floor(math.Log(max(raw, 1))/math.Log(1024)))
		return max(niceStep(raw/unit, 10)*unit, 1)
	}
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if raw <= m*power*1.0001 {
			return m * power
		}
	}
	return 10 * power
}

func timeTicks(time []float64) []tick {
	step := niceStep((time[1]-time[0])/6, 10)
	var ticks []tick
	for i := math.Ceil(time[0] / step); i*step <= time[1]*1.0001; i++ {
		ticks = append(ticks, tick{place(i*step, time[0], time[1]), strconv.FormatFloat(i*step, 'g', 6, 64) + " s"})
	}
	return ticks
}

func newPanel(title, unit, class string, xs, ys, time []float64, a axis, label func(float64) string) panel {
	p := panel{Title: title, Unit: unit, Class: class}
	for i := 0; i <= 8 && a.low+float64(i)*a.step <= a.high+a.step/2; i++ {
		v := a.low + float64(i)*a.step
		p.Ticks = append(p.Ticks, tick{place(v, a.low, a.high), label(v)})
	}
	var line strings.Builder
	for i := range xs {
		command := " L"
		if i == 0 {
			command = "M"
		}
		line.WriteString(command + coordinate(1000*format.Ratio(xs[i]-time[0], time[1]-time[0])) + " " +
			coordinate(100-100*format.Ratio(ys[i]-a.low, a.high-a.low)))
	}
	p.Line = line.String()
	floor := coordinate(100 - 100*format.Ratio(0-a.low, a.high-a.low))
	p.Area = p.Line + " L" + coordinate(1000*format.Ratio(xs[len(xs)-1]-time[0], time[1]-time[0])) + " " + floor +
		" L" + coordinate(1000*format.Ratio(xs[0]-time[0], time[1]-time[0])) + " " + floor + " Z"
	return p
}

func place(v, low, high float64) string { return coordinate(100 * format.Ratio(v-low, high-low)) }

func coordinate(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }

// shortSize is size without decimals that an axis does not need: 50 MiB.
func shortSize(b float64) string {
	s := format.Size(b)
	value, unit, _ := strings.Cut(s, " ")
	if strings.Contains(value, ".") {
		value = strings.TrimRight(strings.TrimRight(value, "0"), ".")
	}
	return value + " " + unit
}
