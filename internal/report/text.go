package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/connprof/connprof/internal/recording"
)

// TextOptions are choices about text for a terminal.
type TextOptions struct {
	Color     bool // ANSI colours
	AllCaches bool // every slab cache that differs from the account, not only those furthest apart
}

// fewCaches is how many slab caches the reconciliation lists unless all are asked for.
const (
	fewCaches     = 8
	fewCachesEach = 5 // of each of two machines
)

const barWidth = 10

// Text writes the account of a recording for a terminal of 100 columns, the answer first. The error is w's.
func Text(w io.Writer, r *recording.Recording, opts TextOptions) error {
	t := newTerminal(w, opts.Color)
	textAnswer(t, r)
	textFacts(t, "Run", runFacts(r))
	textHooks(t, r)
	if r.Load() != nil {
		textFacts(t, "Load", loadFacts(r))
	}
	textPlan(t, r)
	textServers(t, r)
	for _, row := range sortedRows(r) {
		textEndpoints(t, row)
	}
	if r.Load() != nil {
		textConnection(t, r)
	}
	textReconcile(t, r, opts)
	textChecks(t, r)
	textLosses(t, r)
	textCost(t, r)
	textSampling(t, r)
	textNotes(t, notes(r))
	return t.flush()
}

func warnStyle(warn bool, otherwise style) style {
	if warn {
		return warning
	}
	return otherwise
}

// textAnswer says what the reader came for, and in one line whether to believe it.
func textAnswer(t *terminal, r *recording.Recording) {
	c := connectionOf(r)
	sentence, sum := answerOf(r)
	if c.whole() && c.opened {
		sum = decimal1(c.pageBytes()) + " B = " + sum
	}
	t.line(t.styled(bold, sentence), "   ", t.styled(dim, sum))
	var line []string
	used := 0
	for _, s := range status(r) {
		if used += len([]rune(s.Value)) + 3; used-3 > textWidth {
			t.line(strings.Join(line, t.styled(dim, " · ")))
			line, used = nil, len([]rune(s.Value))+3
		}
		line = append(line, t.styled(warnStyle(s.Warn, good), s.Value))
	}
	t.line(strings.Join(line, t.styled(dim, " · ")))
}

func textFacts(t *terminal, title string, facts []fact) {
	t.section(title, "")
	for _, f := range facts {
		t.fact(f)
	}
}

func textEndpoints(t *terminal, row *recording.EndpointRow) {
	t.section(rowTitle(row.Role), fmt.Sprintf("%s · %s", clean(row.State), count(row.Count)))
	tab := table{columns: []column{{title: "object", limit: 18}, {title: "slab cache", limit: 18},
		{title: "count", right: true}, {title: "B/object", right: true}, {title: "each has", right: true},
		{title: "page B each", right: true}, {title: "share", right: true}, {}}}
	for _, o := range objectLines(row) {
		tab.add(cell{o.Type, normal}, cell{o.Cache, dim}, cell{o.Count, normal}, cell{o.EachObject, normal},
			cell{o.PerEndpoint, normal}, cell{o.PageEach, bold}, cell{o.Share, normal}, cell{bar(o.Fraction, barWidth), blue})
	}
	tab.rule()
	tab.add(cell{"total", bold}, cell{}, cell{}, cell{each(row.ObjectBytes, row.Count), normal}, cell{},
		cell{each(row.PageBytes, row.Count), bold}, cell{}, cell{size(pageEach(row)), bold})
	t.table(&tab)
}

func textConnection(t *terminal, r *recording.Recording) {
	c := connectionOf(r)
	t.section("One connection", "")
	if c.client == nil && c.server == nil {
		t.paragraph(warning, "no endpoint was found: there is nothing to divide by")
		return
	}
	tab := table{columns: []column{{}, {right: true}, {right: true}, {}}}
	end := func(name string, bytes float64, what string, s style) {
		tab.add(cell{pad(name, keyWidth-2, false), dim}, cell{decimal1(bytes) + " B", s}, cell{size(bytes), s}, cell{what, normal})
	}
	for _, row := range []*recording.EndpointRow{c.client, c.server} {
		if row != nil {
			end(row.Role.String(), pageEach(row), "slab pages, "+clean(row.State), normal)
		}
	}
	if c.whole() {
		end("together", c.pageBytes(), "slab pages", bold)
	}
	end("queued data", c.bufferBytes(), "not among the above", normal)
	t.rows(&tab)
}

func textReconcile(t *terminal, r *recording.Recording, opts TextOptions) {
	machines := reconciled(r)
	if len(machines) == 0 {
		return
	}
	aside := ""
	if ofBothEnds(r, machines[0].Machine) {
		aside = accountOf(r, machines[0])
	}
	t.section("Account against the kernel's own figures", aside)
	few := fewCaches
	if len(machines) > 1 {
		few = fewCachesEach
	}
	if opts.AllCaches {
		few = math.MaxInt
	}
	for i, m := range machines {
		t.machine(m.label, i > 0)
		for _, f := range reconcileFacts(m.Reconcile) {
			t.fact(f)
		}
		textCaches(t, cacheLines(m.Reconcile), few)
	}
}

func textCaches(t *terminal, lines []cacheLine, few int) {
	if len(lines) == 0 {
		return
	}
	shown := lines[:min(few, len(lines))]
	t.line()
	tab := table{columns: []column{{title: "slab cache", limit: 24}, {title: "grown", right: true},
		{title: "accounted", right: true}, {title: "apart", right: true}, {title: "pages grown", right: true},
		{title: "accounted", right: true}, {title: "apart", right: true}}}
	for _, c := range shown {
		tab.add(cell{c.Cache, normal}, cell{c.GrownObjects, normal}, cell{c.OurObjects, normal}, cell{c.ObjectsDiff, normal},
			cell{c.GrownBytes, normal}, cell{c.OurBytes, normal}, cell{c.Diff, bold})
	}
	t.table(&tab)
	if rest := lines[len(shown):]; len(rest) > 0 {
		t.paragraph(dim, fmt.Sprintf("and %s, %s apart in all", plural(len(rest), "more cache", "more caches"),
			size(sumApart(rest))))
	}
}

func textChecks(t *terminal, r *recording.Recording) {
	agreements := agreementsOf(r)
	if len(agreements) == 0 {
		return
	}
	t.section("Trace against walk", "")
	apart := false
	for _, f := range agreements {
		apart = apart || f.Warn
		if f.Key == "" {
			t.paragraph(warnStyle(f.Warn, good), f.Value)
		} else {
			t.styledFact(f, warnStyle(f.Warn, good))
		}
	}
	if of := coverage(r); of != "" {
		t.paragraph(dim, of)
	}
	if !apart {
		return
	}
	tab := table{columns: []column{{limit: 12}, {limit: 24}, {title: "trace", right: true}, {title: "walk", right: true}, {}}}
	for _, line := range checkLines(traced(r)) {
		if !line.Agree {
			tab.add(cell{line.Role, dim}, cell{line.What, normal}, cell{line.Trace, normal}, cell{line.Walk, normal},
				cell{line.Apart, warning})
		}
	}
	t.table(&tab)
}

func textLosses(t *terminal, r *recording.Recording) {
	views := lossViews(r)
	if len(views) == 0 {
		return
	}
	t.section("Losses", "")
	for i, v := range views {
		t.machine(v.Label, i > 0)
		if v.Lost == 0 {
			t.paragraph(good, v.None)
		}
		for _, f := range v.Facts {
			if f.Warn {
				t.fact(f)
			}
		}
	}
}

// textCost puts two machines side by side: their figures are few and of one kind.
func textCost(t *terminal, r *recording.Recording) {
	machines := profiled(r)
	switch len(machines) {
	case 0:
		return
	case 1:
		t.section("Cost of the profiler", machines[0].label)
		for _, f := range costFacts(machines[0]) {
			t.fact(f)
		}
		return
	}
	t.section("Cost of the profiler", "")
	tab := table{columns: []column{{}}}
	rows := make([][]cell, len(costFacts(machines[0])))
	for _, m := range machines {
		tab.columns = append(tab.columns, column{title: m.label})
		for i, f := range costFacts(m) {
			if rows[i] == nil {
				rows[i] = []cell{{pad(f.Key, keyWidth-2, false), dim}}
			}
			rows[i] = append(rows[i], cell{f.Value, normal})
		}
	}
	for _, row := range rows {
		tab.add(row...)
	}
	t.table(&tab)
}

func textSampling(t *terminal, r *recording.Recording) {
	t.section("Call paths", "")
	said, warn := samplingSentences(r)
	for _, sentence := range said {
		t.paragraph(warnStyle(warn, normal), sentence)
	}
}

func textNotes(t *terminal, notes []string) {
	if len(notes) == 0 {
		return
	}
	t.section("Notes", "")
	for _, note := range notes {
		for i, text := range wrap(note, textWidth-4) {
			bullet := "  "
			if i == 0 {
				bullet = "· "
			}
			t.line("  ", bullet, text)
		}
	}
}
