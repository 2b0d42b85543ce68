// Package text shows reports on a terminal of 100 columns, the answer first.
package text

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/terminal"
)

// Format is text, with choices.
type Format struct {
	Color     bool // ANSI colours
	AllCaches bool // every slab cache that differs from the account, not only those furthest apart
	// Width is how many columns a look at a host may take, 0: terminal.Width. Less than narrowest is not enough for its tables.
	Width int
}

// fewCaches is how many slab caches the reconciliation lists unless all are asked for.
const (
	fewCaches     = 8
	fewCachesEach = 5 // of each of several machines
)

const (
	barWidth  = 10
	separator = " · " // of what stands in one line
)

// page is what a report is written on.
type page struct{ *terminal.Writer }

func (f Format) page(w io.Writer) page { return page{terminal.New(w, terminal.Width, f.Color)} }

// Write writes the account of a recording.
func (f Format) Write(w io.Writer, r *report.Report) error {
	if r.Record != nil && r.Look != nil {
		return f.writeRecord(w, r)
	}
	if r.Look != nil {
		return f.writeLook(w, r)
	}
	p := f.page(w)
	p.answer(r)
	p.facts("Run", r.Run)
	p.hooks(r.Hooks)
	if len(r.Load) > 0 {
		p.facts("Load", r.Load)
	}
	p.plan(&r.Plan)
	p.servers(&r.Servers)
	p.ownServer(&r.Server)
	for i := range r.Rows {
		p.endpoints(&r.Rows[i])
	}
	if len(r.Load) > 0 && len(r.Recording.Profiled()) > 0 {
		p.connection(r.Connection)
	}
	p.stays(&r.Stays)
	p.cycles(&r.Cycles)
	p.accounts(r.Accounts, f.AllCaches)
	p.trace(&r.Trace)
	p.losses(r.Losses)
	p.costs(r.Costs)
	p.callPaths(&r.CallPaths)
	p.notes(r.Notes)
	return p.Flush()
}

// answer says what the reader came for, and in a line whether to believe it.
func (p page) answer(r *report.Report) {
	sum := r.Answer.Sum
	if r.Answer.Exact != "" {
		sum = r.Answer.Exact + " = " + sum
	}
	p.Line(p.Styled(terminal.Bold, r.Answer.Sentence), "   ", p.Styled(terminal.Dim, sum))
	var line []string
	used := 0
	for _, s := range r.Status {
		width := format.Columns(s.Value + separator)
		if used += width; used-format.Columns(separator) > terminal.Width {
			p.Line(strings.Join(line, p.Styled(terminal.Dim, separator)))
			line, used = nil, width
		}
		line = append(line, p.Styled(terminal.Warn(s.Warn, terminal.Good), s.Value))
	}
	p.Line(strings.Join(line, p.Styled(terminal.Dim, separator)))
}

func (p page) fact(f report.Fact) { p.Fact(f.Key, f.Value, terminal.Warn(f.Warn, terminal.Normal)) }

func (p page) facts(title string, facts []report.Fact) {
	p.Section(title, "")
	for _, f := range facts {
		p.fact(f)
	}
}

// plan says what all connections were expected to need, by what the first ones cost.
func (p page) plan(plan *report.Plan) {
	if len(plan.Tables) == 0 {
		return
	}
	p.Section(plan.Title, plan.Aside)
	for i, t := range plan.Tables {
		p.Label(t.Label, i > 0)
		tab := terminal.Table{Columns: []terminal.Column{{Title: "limit", Limit: 20}, {Title: "set by", Limit: 40},
			{Title: "needed", Right: true}, {Title: "there is", Right: true}, {}}}
		for _, l := range t.Lines {
			tab.Add(terminal.Normal.Cell(l.Limit), terminal.Dim.Cell(l.Where), terminal.Normal.Cell(l.Need),
				terminal.Normal.Cell(l.Have), terminal.Warn(l.Warn, terminal.Good).Cell(l.Verdict))
		}
		p.Table(&tab)
	}
}

func (p page) servers(s *report.Servers) {
	if len(s.Lines) == 0 {
		return
	}
	p.Section("Two servers", s.Aside)
	tab := terminal.Table{Columns: []terminal.Column{{}, {Title: "epoll", Right: true}, {Title: "thread", Right: true},
		{Title: "thread/epoll", Right: true}}}
	for _, l := range s.Lines {
		tab.Add(terminal.Normal.Cell(l.What), terminal.Normal.Cell(l.Epoll), terminal.Bold.Cell(l.Thread),
			terminal.Normal.Cell(l.Ratio))
	}
	p.Table(&tab)
}

func (p page) ownServer(s *report.OwnServer) {
	if len(s.Facts) == 0 {
		return
	}
	p.facts("The server", s.Facts)
	if len(s.Lines) == 0 {
		return
	}
	tab := terminal.Table{Columns: []terminal.Column{{}, {Title: "all up", Right: true}, {Title: "growth", Right: true},
		{Title: "a connection", Right: true}}}
	for _, l := range s.Lines {
		each := terminal.Normal
		if l.Sum {
			each = terminal.Bold
		}
		tab.Add(terminal.Normal.Cell(l.What), terminal.Normal.Cell(l.Now), terminal.Normal.Cell(l.Growth), each.Cell(l.Each))
	}
	p.Table(&tab)
}

func (p page) endpoints(row *report.Row) {
	p.Section(row.Title, row.State+" · "+row.Count)
	tab := terminal.Table{Columns: []terminal.Column{{Title: "object", Limit: 18}, {Title: "slab cache", Limit: 18},
		{Title: "count", Right: true}, {Title: "B/object", Right: true}, {Title: "each has", Right: true},
		{Title: "page B each", Right: true}, {Title: "share", Right: true}, {}}}
	for _, o := range row.Objects {
		tab.Add(terminal.Normal.Cell(o.Type), terminal.Dim.Cell(o.Cache), terminal.Normal.Cell(o.Count),
			terminal.Normal.Cell(o.EachObject), terminal.Normal.Cell(o.PerEndpoint), terminal.Bold.Cell(o.PageEach),
			terminal.Normal.Cell(o.Share), terminal.Blue.Cell(terminal.Bar(o.Fraction, barWidth)))
	}
	tab.Rule()
	none := terminal.Cell{}
	tab.Add(terminal.Bold.Cell("total"), none, none, terminal.Normal.Cell(row.Object), none, terminal.Bold.Cell(row.Page), none,
		terminal.Bold.Cell(row.Size))
	p.Table(&tab)
}

func (p page) connection(lines []report.ConnectionLine) {
	p.Section("One connection", "")
	if len(lines) == 0 {
		p.Paragraph(terminal.Warning, "no endpoint was found: there is nothing to divide by")
		return
	}
	tab := terminal.Table{Columns: []terminal.Column{{}, {Right: true}, {Right: true}, {}}}
	for _, l := range lines {
		s := terminal.Normal
		if l.Sum {
			s = terminal.Bold
		}
		tab.Add(key(l.Name), s.Cell(l.Exact), s.Cell(l.Size), terminal.Normal.Cell(l.What))
	}
	p.Rows(&tab)
}

// key is a row's name, as wide as that of a fact.
func key(name string) terminal.Cell {
	return terminal.Dim.Cell(terminal.Pad(name, terminal.KeyWidth-2, false))
}

func (p page) accounts(accounts []report.Account, all bool) {
	if len(accounts) == 0 {
		return
	}
	few, aside := fewCaches, ""
	if len(accounts) > 1 {
		few = fewCachesEach
	}
	if all {
		few = math.MaxInt
	}
	if accounts[0].Shared {
		aside = accounts[0].Label
	}
	p.Section("Account against the kernel's own figures", aside)
	for i, a := range accounts {
		if !a.Shared {
			p.Label(a.Label, i > 0)
		}
		for _, f := range a.Facts {
			p.fact(f)
		}
		p.caches(a.Caches, few)
	}
}

func (p page) caches(caches []report.Cache, few int) {
	if len(caches) == 0 {
		return
	}
	shown := caches[:min(few, len(caches))]
	p.Line()
	tab := terminal.Table{Columns: []terminal.Column{{Title: "slab cache", Limit: 24}, {Title: "grown", Right: true},
		{Title: "accounted", Right: true}, {Title: "apart", Right: true}, {Title: "pages grown", Right: true},
		{Title: "accounted", Right: true}, {Title: "apart", Right: true}}}
	for _, c := range shown {
		tab.Add(terminal.Normal.Cell(c.Cache), terminal.Normal.Cell(c.GrownObjects), terminal.Normal.Cell(c.OurObjects),
			terminal.Normal.Cell(c.ObjectsDiff), terminal.Normal.Cell(c.GrownBytes), terminal.Normal.Cell(c.OurBytes),
			terminal.Bold.Cell(c.Diff))
	}
	p.Table(&tab)
	if rest := caches[len(shown):]; len(rest) > 0 {
		p.Paragraph(terminal.Dim, fmt.Sprintf("and %s, %s apart in all", format.Plural(len(rest), "more cache", "more caches"),
			format.Size(report.SumApart(rest))))
	}
}

func (p page) trace(t *report.Trace) {
	if len(t.Agreements) == 0 {
		return
	}
	p.Section("Trace against walk", "")
	for _, f := range t.Agreements {
		if s := terminal.Warn(f.Warn, terminal.Good); f.Key == "" {
			p.Paragraph(s, f.Value)
		} else {
			p.Fact(f.Key, f.Value, s)
		}
	}
	if t.Coverage != "" {
		p.Paragraph(terminal.Dim, t.Coverage)
	}
	if !t.Apart() {
		return
	}
	tab := terminal.Table{Columns: []terminal.Column{{Limit: 12}, {Limit: 24}, {Title: "trace", Right: true},
		{Title: "walk", Right: true}, {}}}
	for _, c := range t.Checks {
		if !c.Agree {
			tab.Add(terminal.Dim.Cell(c.Role), terminal.Normal.Cell(c.What), terminal.Normal.Cell(c.Trace),
				terminal.Normal.Cell(c.Walk), terminal.Warning.Cell(c.Apart))
		}
	}
	p.Table(&tab)
}

func (p page) losses(losses []report.Losses) {
	if len(losses) == 0 {
		return
	}
	p.Section("Losses", "")
	for i, l := range losses {
		p.Label(l.Label, i > 0)
		if l.Lost == 0 {
			p.Paragraph(terminal.Good, l.None)
		}
		for _, f := range l.Facts {
			if f.Warn {
				p.fact(f)
			}
		}
	}
}

// costs puts several machines side by side: their figures are few and of one kind.
func (p page) costs(costs []report.Cost) {
	switch len(costs) {
	case 0:
		return
	case 1:
		p.Section("Cost of the profiler", costs[0].Label)
		for _, f := range costs[0].Facts {
			p.fact(f)
		}
		return
	}
	p.Section("Cost of the profiler", "")
	tab := terminal.Table{Columns: []terminal.Column{{}}}
	for _, f := range costs[0].Facts {
		tab.Add(key(f.Key))
	}
	for _, c := range costs {
		tab.Columns = append(tab.Columns, terminal.Column{Title: c.Label})
		for i, f := range c.Facts {
			tab.Rows[i] = append(tab.Rows[i], terminal.Normal.Cell(f.Value))
		}
	}
	p.Table(&tab)
}

func (p page) callPaths(c *report.CallPaths) {
	p.Section("Call paths", "")
	for _, sentence := range c.Sentences {
		p.Paragraph(terminal.Warn(c.Warn, terminal.Normal), sentence)
	}
}

func (p page) notes(notes []string) {
	if len(notes) == 0 {
		return
	}
	p.Section("Notes", "")
	for _, note := range notes {
		p.Bullet(note)
	}
}
