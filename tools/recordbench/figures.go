package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// series is the rounds of one workload.
type series struct {
	workload workload
	rounds   [][]sample // in each the watchers' samples, in the watchers' order
}

func own(s sample) float64  { return s.own }
func host(s sample) float64 { return s.host }

// median of no values is not a number.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	if n == 0 {
		return math.NaN()
	}
	return (s[(n-1)/2] + s[n/2]) / 2
}

// each is a figure of one watcher's, by round.
func (s series) each(who int, of func(sample) float64) (list []float64) {
	for _, round := range s.rounds {
		list = append(list, of(round[who]))
	}
	return list
}

// extra is what a watcher adds to a figure of the same round without one, by round, in percent.
func (s series) extra(who int, of func(sample) float64) (list []float64) {
	for _, round := range s.rounds {
		list = append(list, 100*(of(round[who])/of(round[0])-1))
	}
	return list
}

// table has a row for each workload and watcher, as Markdown.
func table(all []series, watchers []watcher) string {
	var b strings.Builder
	b.WriteString("| workload | watched by | rounds | µs a request, both ends | extra | lowest | highest |" +
		" µs, whole host | extra | /s |\n" +
		"| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, s := range all {
		for who, w := range watchers {
			b.WriteString(s.row(who, w))
		}
	}
	return b.String()
}

func (s series) row(who int, w watcher) string {
	name := "nobody"
	ownExtra, hostExtra, lowest, highest := "", "", "", ""
	if who > 0 {
		name = "`" + w.name + "`"
		list := s.extra(who, own)
		ownExtra, hostExtra = percent(median(list)), percent(median(s.extra(who, host)))
		lowest, highest = percent(slices.Min(list)), percent(slices.Max(list))
	}
	rate := median(s.each(who, func(s sample) float64 { return s.rate }))
	return fmt.Sprintf("| %s | %s | %d | %.1f | %s | %s | %s | %.1f | %s | %.0f |\n", s.workload.what, name, len(s.rounds),
		median(s.each(who, own)), ownExtra, lowest, highest, median(s.each(who, host)), hostExtra, rate)
}

func percent(x float64) string { return fmt.Sprintf("%+.1f %%", x) }
