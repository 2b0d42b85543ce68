package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/connprof/connprof/account"
)

// TextOptions are choices about text for a terminal.
type TextOptions struct {
	Color     bool // ANSI colours
	AllCaches bool // every slab cache that differs from the account, not only those furthest apart
}

// fewCaches is how many slab caches the reconciliation lists unless all are asked for.
const fewCaches = 8

const barWidth = 10

// Text writes the account of a recording for a terminal of 100 columns, the answer first. The error is w's.
func Text(w io.Writer, r *account.Recording, opts TextOptions) error {
	t := newTerminal(w, opts.Color)
	textAnswer(t, r)
	textFacts(t, "Run", runFacts(r))
	textHooks(t, r)
	textFacts(t, "Load", loadFacts(r))
	textPlan(t, r)
	textServers(t, r)
	for _, row := range sortedRows(r) {
		textEndpoints(t, row)
	}
	textConnection(t, r)
	textReconcile(t, r, opts)
	textChecks(t, r)
	textLosses(t, r)
	textFacts(t, "Cost of the profiler", costFacts(r))
	textSampling(t, r)
	textNotes(t, r.Notes)
	return t.flush()
}

func warnStyle(warn bool, otherwise style) style {
	if warn {
		return warning
	}
	return otherwise
}

// textAnswer says what the reader came for, and in one line whether to believe it.
func textAnswer(t *terminal, r *account.Recording) {
	c := connectionOf(r)
	sentence, sum := c.answer()
	if c.whole() {
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

func textHooks(t *terminal, r *account.Recording) {
	t.section("Hooks", "")
	lines := hookLines(r)
	if len(lines) == 0 {
		t.paragraph(dim, "none")
		return
	}
	tab := table{columns: []column{{limit: 20}, {limit: 12}, {limit: 32}, {right: true}}}
	for _, h := range lines {
		tab.add(cell{h.Name, normal}, cell{h.Kind, warnStyle(!h.Attached, blue)}, cell{h.Function, normal},
			cell{h.Hits, warnStyle(!h.Attached, normal)})
	}
	widths := tab.widths()
	used := 2
	for _, width := range widths {
		used += width + 2
	}
	for i, row := range tab.rows {
		t.hook(&tab, widths, row, lines[i].Note, used)
	}
}

// hook puts a note beside its hook where it fits, and under it where it does not.
func (t *terminal) hook(tab *table, widths []int, row []cell, note string, used int) {
	if note != "" && used+len([]rune(note)) <= textWidth {
		wide := table{columns: append(append([]column(nil), tab.columns...), column{})}
		t.cells(&wide, append(append([]int(nil), widths...), 0), append(row, cell{note, dim}))
		return
	}
	t.cells(tab, widths, row)
	if note != "" {
		indent := strings.Repeat(" ", widths[0]+4)
		for _, text := range wrap(note, textWidth-len(indent)) {
			t.line(indent, t.styled(dim, text))
		}
	}
}

func textEndpoints(t *terminal, row *account.EndpointRow) {
	t.section(rowTitle(row), fmt.Sprintf("%s · %s", clean(row.State), count(row.Count)))
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

func textConnection(t *terminal, r *account.Recording) {
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
	for _, row := range []*account.EndpointRow{c.client, c.server} {
		if row != nil {
			end(row.Role, pageEach(row), "slab pages, "+clean(row.State), normal)
		}
	}
	if c.whole() {
		end("together", c.pageBytes(), "slab pages", bold)
	}
	end("queued data", c.bufferBytes(), "not among the above", normal)
	t.rows(&tab)
}

func textReconcile(t *terminal, r *account.Recording, opts TextOptions) {
	textFacts(t, "Account against the kernel's own figures", reconcileFacts(r))
	lines := cacheLines(r)
	if len(lines) == 0 {
		return
	}
	shown := lines
	if !opts.AllCaches && len(lines) > fewCaches {
		shown = lines[:fewCaches]
	}
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

func textChecks(t *terminal, r *account.Recording) {
	lines := checkLines(r)
	sentence, warn := agreement(r, lines)
	t.section("Trace against walk", "")
	t.paragraph(warnStyle(warn, good), sentence)
	if !warn {
		return
	}
	tab := table{columns: []column{{limit: 12}, {limit: 24}, {title: "trace", right: true}, {title: "walk", right: true}, {}}}
	for _, line := range lines {
		if !line.Agree {
			tab.add(cell{line.Role, dim}, cell{line.What, normal}, cell{line.Trace, normal}, cell{line.Walk, normal},
				cell{line.Apart, warning})
		}
	}
	t.table(&tab)
}

func textLosses(t *terminal, r *account.Recording) {
	t.section("Losses", "")
	if r.Losses.Total() == 0 {
		t.paragraph(good, "none")
	}
	for _, f := range lossFacts(r) {
		if f.Warn {
			t.fact(f)
		}
	}
}

func textSampling(t *terminal, r *account.Recording) {
	sentence, warn := samplingSentence(r)
	t.section("Call paths", "")
	t.paragraph(warnStyle(warn, normal), sentence)
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
