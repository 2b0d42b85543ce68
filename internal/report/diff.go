package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/account"
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

// changeAnswer is what a connection costs now and how that differs from before.
func changeAnswer(older, newer *recording.Recording, rows []*rowChange) (sentence, detail string, same bool) {
	was, is := connectionOf(older), connectionOf(newer)
	sentence, _ = is.answer()
	comparable := was.whole() == is.whole() && (was.client == nil) == (is.client == nil) &&
		(was.client != nil || was.server != nil)
	change := is.pageBytes() - was.pageBytes()
	switch {
	case nothingChanged(rows):
		return sentence, "nothing changed: each object type costs an endpoint the same in both recordings", true
	case !comparable:
		return sentence, "the recordings do not hold the same ends of a connection", false
	case !changed(change):
		return sentence, "the same as before in all, though not in each part", false
	case change > 0:
		return sentence, fmt.Sprintf("%s more than before (%s, from %s)", size(change),
			signedPercent(change, was.pageBytes()), size(was.pageBytes())), false
	}
	return sentence, fmt.Sprintf("%s less than before (%s, from %s)", size(-change),
		signedPercent(change, was.pageBytes()), size(was.pageBytes())), false
}

// difference is a fact of two recordings side by side.
type difference struct{ Key, Was, Is string }

func runDifferences(older, newer *recording.Recording) []difference {
	side := func(key string, value func(*recording.Recording) string) difference {
		return difference{key, value(older), value(newer)}
	}
	list := []difference{
		side("recorded", createdAt),
		side("kernel", kernels),
		side("connprof", func(r *recording.Recording) string { return clean(r.Version) }),
		side("command", func(r *recording.Recording) string { return commandLine(r.Command) }),
		side("scenario", func(r *recording.Recording) string { return clean(r.Load.Scenario) }),
		side("connections", func(r *recording.Recording) string { return count(r.Load.Established) }),
		side("a connection", func(r *recording.Recording) string { return size(connectionOf(r).pageBytes()) }),
		side("queued data", func(r *recording.Recording) string { return size(connectionOf(r).bufferBytes()) }),
		side("unexplained", func(r *recording.Recording) string {
			shares, _ := unexplainedShares(r)
			return strings.Join(shares, ", ")
		}),
		side("lost", func(r *recording.Recording) string { return count(lost(r)) }),
	}
	if d := side("machines", machines); d.Was != oneMachine || d.Is != oneMachine {
		list = slices.Insert(list, 1, d)
	}
	return list
}

const oneMachine = "one"

// machines names those that took part.
func machines(r *recording.Recording) string {
	var names []string
	for _, p := range partsOf(r) {
		names = append(names, p.label())
	}
	switch {
	case onlyEnd(r) != "":
		return onlyEnd(r) + " only"
	case r.Peer == nil:
		return oneMachine
	case r.Reconcile.BothEnds:
		return "two on one kernel"
	}
	return strings.Join(names, ", ")
}

// kernels names each kernel once.
func kernels(r *recording.Recording) string {
	var names []string
	for _, p := range partsOf(r) {
		if name := clean(p.Host.Kernel + " " + p.Host.Machine); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

func diffRow(t *terminal, row *rowChange) {
	t.section(rowTitle(row.some()), fmt.Sprintf("%s · %s, before %s", clean(row.state), count(rowCount(row.is)),
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
		if n := lost(side.r); n > 0 {
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
	if older.Load.Scenario != newer.Load.Scenario {
		warnings = append(warnings, "the recordings are of different scenarios")
	}
	return warnings
}
