package report

import "github.com/connprof/connprof/internal/recording"

// planLine is one limit held against what the run needs of it.
type planLine struct {
	Limit, Where, Need, Have, Verdict string
	Warn                              bool
}

func planLines(plan []recording.PlanRow) []planLine {
	var lines []planLine
	for _, p := range plan {
		l := planLine{Limit: clean(p.Limit), Where: clean(p.Where), Need: count(p.Need), Have: count(p.Have),
			Verdict: clean(p.Verdict), Warn: p.Verdict != "ok"}
		if p.Unit == "bytes" {
			l.Need, l.Have = size(float64(p.Need)), size(float64(p.Have))
		}
		lines = append(lines, l)
	}
	return lines
}

// planView is what one machine's connections need.
type planView struct {
	Label string
	Lines []planLine
}

func planViews(r *recording.Recording) []planView {
	var views []planView
	for _, m := range profiled(r) {
		if lines := planLines(m.Plan); len(lines) > 0 {
			views = append(views, planView{m.label, lines})
		}
	}
	return views
}

// textPlan says what all connections were expected to need, by what the first ones cost.
func textPlan(t *terminal, r *recording.Recording) {
	views := planViews(r)
	if len(views) == 0 {
		return
	}
	title, aside := planTitle(r)
	t.section(title, aside)
	for i, v := range views {
		t.machine(v.Label, i > 0)
		tab := table{columns: []column{{title: "limit", limit: 20}, {title: "set by", limit: 40}, {title: "needed", right: true},
			{title: "there is", right: true}, {}}}
		for _, l := range v.Lines {
			tab.add(cell{l.Limit, normal}, cell{l.Where, dim}, cell{l.Need, normal}, cell{l.Have, normal},
				cell{l.Verdict, warnStyle(l.Warn, good)})
		}
		t.table(&tab)
	}
}

// planTitle says of how many connections a plan is, and by what.
func planTitle(r *recording.Recording) (title, aside string) {
	title = "What the connections need"
	if l := r.Load(); l != nil {
		title = "What " + plural(l.Requested, "connection needs", "connections need")
	}
	if list := traced(r); len(list) > 0 {
		aside = "by the cost of the first " + count(list[0].Trace.BatchConnections)
	}
	return title, aside
}
