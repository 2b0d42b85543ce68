package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// median of no values is not a number.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	if n == 0 {
		return math.NaN()
	}
	return (s[(n-1)/2] + s[n/2]) / 2
}

// each gives a figure of every round.
func (s series) each(of func([]sample) float64) []float64 {
	var list []float64
	for _, round := range s.rounds {
		list = append(list, of(round))
	}
	return list
}

// ratios of one contender's figure to another's, by round.
func (s series) ratios(a, b int, of func(sample) float64) []float64 {
	return s.each(func(round []sample) float64 { return of(round[a]) / of(round[b]) })
}

// extra is the median over the rounds of what the profiler added, in seconds.
func (s series) extra(of func(sample) float64) float64 {
	return median(s.each(func(round []sample) float64 { return of(round[with]) - of(round[without]) }))
}

// line is a fixed part and a slope.
type line struct {
	fixed, slope float64 // seconds, and seconds a connection
}

// through is the line through two points.
func through(n1 int, y1 float64, n2 int, y2 float64) line {
	slope := (y2 - y1) / float64(n2-n1)
	return line{fixed: y1 - slope*float64(n1), slope: slope}
}

func (l line) String() string {
	return fmt.Sprintf("%.1f ms fixed and %.2f µs a connection", 1e3*l.fixed, 1e6*l.slope)
}

func seconds(s sample) float64    { return s.seconds }
func cpuSeconds(s sample) float64 { return s.cpuSeconds }

// lines says what the profiler adds, by the smallest and the largest number of connections. It is empty for one number alone.
func lines(all []series) string {
	least, most := all[0], all[0]
	for _, s := range all {
		if s.connections < least.connections {
			least = s
		}
		if s.connections > most.connections {
			most = s
		}
	}
	if least.connections == most.connections {
		return ""
	}
	of := func(f func(sample) float64) line {
		return through(least.connections, least.extra(f), most.connections, most.extra(f))
	}
	return fmt.Sprintf("\nThe profiler adds, by %s and %s connections:\n- time: %v\n- CPU time: %v\n", thousands(least.connections),
		thousands(most.connections), of(seconds), of(cpuSeconds))
}

// table has a row for each number of connections, as Markdown.
func table(all []series, contenders []contender) string {
	head := []string{"connections", "rounds", "taken by others"}
	for _, c := range contenders {
		head = append(head, c.name+" /s")
	}
	for _, c := range contenders {
		head = append(head, c.name+" CPU µs each")
	}
	head = append(head, "rate with/without", "lowest", "highest", "CPU with/without")
	if len(contenders) > plainPair {
		head = append(head, "rate with/plain", "CPU with/plain")
	}
	var b strings.Builder
	row := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(head)
	row(slices.Repeat([]string{"---:"}, len(head)))
	for _, s := range all {
		row(s.cells(len(contenders)))
	}
	return b.String()
}

func (s series) cells(contenders int) []string {
	cells := []string{thousands(s.connections), strconv.Itoa(len(s.rounds)), fmt.Sprintf("%.0f %%", 100*median(s.others))}
	for i := range contenders {
		cells = append(cells, thousands(int(median(s.each(func(r []sample) float64 { return r[i].rate() })))))
	}
	for i := range contenders {
		cells = append(cells, fmt.Sprintf("%.1f", median(s.each(func(r []sample) float64 { return r[i].cpuEach() }))))
	}
	ratio := func(x float64) string { return fmt.Sprintf("%.3f", x) }
	rates := s.ratios(with, without, sample.rate)
	cells = append(cells, ratio(median(rates)), ratio(slices.Min(rates)), ratio(slices.Max(rates)),
		ratio(median(s.ratios(with, without, sample.cpuEach))))
	if contenders > plainPair {
		cells = append(cells, ratio(median(s.ratios(with, plainPair, sample.rate))),
			ratio(median(s.ratios(with, plainPair, sample.cpuEach))))
	}
	return cells
}

// roundLine is a round as it is shown while the others are still to come.
func roundLine(i, connections int, contenders []contender, round []sample, others float64) string {
	text := fmt.Sprintf("%s connections, round %d:", thousands(connections), i+1)
	for who, s := range round {
		text += fmt.Sprintf(" %s %.0f/s %.1f µs,", contenders[who].name, s.rate(), s.cpuEach())
	}
	return text + fmt.Sprintf(" rate %.3f, CPU %.3f, others took %.0f %%", round[with].rate()/round[without].rate(),
		round[with].cpuEach()/round[without].cpuEach(), 100*others)
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
