package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Diff writes what an endpoint costs in two recordings, type by type, for a terminal of 100 columns. Everything is
// divided by the number of endpoints first, so that runs of different size can be compared. The error is w's.
func Diff(w io.Writer, older, newer *recording.Recording, opts TextOptions) error {
	t := newTerminal(w, opts.Color)
	rows := compareRows(older, newer)
	diffAnswer(t, older, newer, rows)
	diffRuns(t, older, newer)
	for _, row := range rows {
		diffRow(t, row)
	}
	diffTrust(t, older, newer)
	return t.flush()
}

func diffRuns(t *terminal, older, newer *recording.Recording) {
	t.section("Recordings", "")
	tab := table{columns: []column{{}, {title: "old", limit: 40}, {title: "new", limit: 40}}}
	for _, f := range runDifferences(older, newer) {
		s := normal
		if f.Was != f.Is {
			s = bold
		}
		tab.add(cell{f.Key, dim}, cell{f.Was, s}, cell{f.Is, s})
	}
	t.table(&tab)
}

func diffTrust(t *terminal, older, newer *recording.Recording) {
	warnings := diffWarnings(older, newer)
	if len(warnings) == 0 {
		return
	}
	t.section("Before you rely on it", "")
	for _, sentence := range warnings {
		t.paragraph(warning, sentence)
	}
}

func diffAnswer(t *terminal, older, newer *recording.Recording, rows []*rowChange) {
	sentence, detail, same := changeAnswer(older, newer, rows)
	s := warning
	if same {
		s = good
	}
	t.line(t.styled(bold, sentence))
	t.line(t.styled(s, detail))
}

// changeAnswer is what the newer recording says first, and how that differs from the older.
func changeAnswer(older, newer *recording.Recording, rows []*rowChange) (sentence, detail string, same bool) {
	sentence, _ = answerOf(newer)
	was, is, comparable := answerBytes(older, newer)
	switch change := is - was; {
	case nothingChanged(rows):
		return sentence, "nothing changed: each object type costs an endpoint the same in both recordings", true
	case !comparable:
		return sentence, "the recordings do not hold the same ends of a connection", false
	case !changed(change):
		return sentence, "the same as before in all, though not in each part", false
	case change > 0:
		return sentence, fmt.Sprintf("%s more than before (%s, from %s)", size(change), signedPercent(change, was), size(was)), false
	default:
		return sentence, fmt.Sprintf("%s less than before (%s, from %s)", size(-change), signedPercent(change, was), size(was)), false
	}
}

// answerBytes is what two recordings say first, and whether they say it of the same.
func answerBytes(older, newer *recording.Recording) (was, is float64, comparable bool) {
	a, b := connectionOf(older), connectionOf(newer)
	if !a.opened && !b.opened {
		pages := func(row *recording.EndpointRow) uint64 { return row.PageBytes }
		return sumRows(older, pages), sumRows(newer, pages), true
	}
	return a.pageBytes(), b.pageBytes(), a.opened == b.opened && a.whole() == b.whole() &&
		(a.client == nil) == (b.client == nil) && (a.client != nil || a.server != nil)
}

// difference is a fact of two recordings side by side.
type difference struct{ Key, Was, Is string }

func runDifferences(older, newer *recording.Recording) []difference {
	var list []difference
	add := func(key string, value func(*recording.Recording) string) {
		if d := (difference{key, value(older), value(newer)}); d.Was != "" || d.Is != "" {
			list = append(list, d)
		}
	}
	ofLoad := func(value func(*recording.Load) string) func(*recording.Recording) string {
		return func(r *recording.Recording) string {
			if l := r.Load(); l != nil {
				return value(l)
			}
			return ""
		}
	}
	add("recorded", createdAt)
	if machines(older) != oneMachine || machines(newer) != oneMachine {
		add("machines", machines)
	}
	add("kernel", kernels)
	add("connprof", func(r *recording.Recording) string { return clean(r.Version) })
	add("command", func(r *recording.Recording) string { return commandLine(r.Command) })
	add("scenario", ofLoad(func(l *recording.Load) string { return clean(l.Scenario) }))
	add("connections", ofLoad(func(l *recording.Load) string { return count(l.Established) }))
	add("a connection", ofConnection(connection.pageBytes))
	add("queued data", ofConnection(connection.bufferBytes))
	add("unexplained", func(r *recording.Recording) string {
		shares, _ := unexplainedShares(r)
		return strings.Join(shares, ", ")
	})
	add("lost", func(r *recording.Recording) string { return count(r.Lost()) })
	return list
}

// ofConnection writes a figure of a connection, of recordings that have any.
func ofConnection(value func(connection) float64) func(*recording.Recording) string {
	return func(r *recording.Recording) string {
		if c := connectionOf(r); c.opened {
			return size(value(c))
		}
		return ""
	}
}

const oneMachine = "one"

// machines names those that took part.
func machines(r *recording.Recording) string {
	missing := r.Missing()
	switch {
	case missing != kernel.RoleUnknown:
		return other(missing).String() + " only"
	case len(r.Machines) == 1:
		return oneMachine
	case r.OneKernel():
		return "two on one kernel"
	}
	var names []string
	for _, m := range all(r) {
		names = append(names, m.label)
	}
	return strings.Join(names, ", ")
}

// kernels names each kernel once.
func kernels(r *recording.Recording) string {
	var names []string
	for _, m := range r.Machines {
		if name := clean(m.Host.Kernel + " " + m.Host.Machine); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

func diffRow(t *terminal, row *rowChange) {
	t.section(rowTitle(row.role), fmt.Sprintf("%s · %s, before %s", clean(row.state), count(rowCount(row.is)),
		count(rowCount(row.was))))
	if !row.changed() {
		t.paragraph(dim, "unchanged: "+decimal1(pageEach(row.is))+" B an endpoint")
		return
	}
	tab := table{columns: []column{{title: "object", limit: 24}, {title: "slab cache", limit: 20},
		{title: "old page B each", right: true}, {title: "new page B each", right: true}, {title: "change", right: true},
		{right: true}}}
	for _, o := range row.objects {
		line := o.line()
		s := changeStyle(line)
		tab.add(cell{line.Type, normal}, cell{line.Cache, dim}, cell{line.Was, normal}, cell{line.Is, normal},
			cell{line.Change, s}, cell{line.Percent, s})
	}
	tab.rule()
	total := newChangeLine(pageEach(row.was), pageEach(row.is))
	s := changeStyle(total)
	tab.add(cell{"total", bold}, cell{}, cell{total.Was, bold}, cell{total.Is, bold}, cell{total.Change, s},
		cell{total.Percent, s})
	t.table(&tab)
}

func changeStyle(line changeLine) style {
	switch {
	case !line.Changed:
		return dim
	case line.Grew:
		return warning
	}
	return good
}

// diffWarnings are reasons not to trust a comparison.
func diffWarnings(older, newer *recording.Recording) []string {
	var warnings []string
	for _, side := range []struct {
		name string
		r    *recording.Recording
	}{{"old", older}, {"new", newer}} {
		if n := side.r.Lost(); n > 0 {
			warnings = append(warnings, fmt.Sprintf("the %s recording lost %s: see its own report", side.name,
				plural(n, "event", "events")))
		}
		switch shares, warn := unexplainedShares(side.r); {
		case warn && len(shares) == 1:
			warnings = append(warnings, fmt.Sprintf("the %s recording leaves %s of slab growth unexplained", side.name, shares[0]))
		case warn:
			warnings = append(warnings, fmt.Sprintf("the %s recording leaves slab growth unexplained: %s", side.name,
				strings.Join(shares, ", ")))
		}
	}
	if older.Scenario() != newer.Scenario() {
		warnings = append(warnings, "the recordings are of different scenarios")
	}
	return warnings
}
