package report

import (
	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Plan is what all connections were expected to need, by what the first ones cost.
type Plan struct {
	Title, Aside string
	Tables       []PlanTable
}

// PlanTable is what one machine's connections need.
type PlanTable struct {
	Label string // whose, empty where there is one machine
	Lines []PlanLine
}

func planOf(r *recording.Recording) Plan {
	title, aside := planTitle(r)
	plan := Plan{Title: title, Aside: aside}
	for _, m := range profiled(r) {
		if lines := planLines(m.Plan); len(lines) > 0 {
			plan.Tables = append(plan.Tables, PlanTable{m.label, lines})
		}
	}
	return plan
}

// PlanLine is one limit held against what the run needs of it.
type PlanLine struct {
	Limit, Where, Need, Have, Verdict string
	Warn                              bool
}

func planLines(plan []recording.PlanRow) []PlanLine {
	var lines []PlanLine
	for _, p := range plan {
		l := PlanLine{Limit: format.Clean(p.Limit), Where: format.Clean(p.Where), Need: format.Count(p.Need),
			Have: format.Count(p.Have), Verdict: format.Clean(p.Verdict), Warn: p.Verdict != "ok"}
		if p.Unit == "bytes" {
			l.Need, l.Have = format.Size(float64(p.Need)), format.Size(float64(p.Have))
		}
		lines = append(lines, l)
	}
	return lines
}

// planTitle says of how many connections a plan is, and by what.
func planTitle(r *recording.Recording) (title, aside string) {
	title = "What the connections need"
	if l := r.Load(); l != nil {
		title = "What " + format.Plural(l.Requested, "connection needs", "connections need")
	}
	if list := traced(r); len(list) > 0 {
		aside = "by the cost of the first " + format.Count(list[0].Trace.BatchConnections)
	}
	return title, aside
}
