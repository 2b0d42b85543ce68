package text

import (
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/terminal"
)

// narrowest is how many columns the tables of a look need.
const narrowest = 80

// lookPage is as wide as the reader has it.
func (f Format) lookPage(w io.Writer) page {
	width := f.Width
	if width == 0 {
		width = terminal.Width
	}
	return page{terminal.New(w, max(width, narrowest), f.Color)}
}

// writeLook writes who holds what on a running host.
func (f Format) writeLook(w io.Writer, r *report.Report) error {
	p, l := f.lookPage(w), r.Look
	for _, line := range terminal.Wrap(l.Sentence+" "+l.Took, p.Width) {
		p.Line(p.Styled(terminal.Bold, line))
	}
	p.lookStatus(r)
	p.owners(&l.Owners)
	p.owners(&l.Nobody)
	p.findings(l.Findings)
	p.objects(&l.Objects)
	p.books(l.Books)
	p.facts("How it was looked at", l.How)
	p.notes(r.Notes)
	return p.Flush()
}

// lookStatus says in a line whether to worry.
func (p page) lookStatus(r *report.Report) {
	var parts []string
	for _, s := range r.Status {
		parts = append(parts, p.Styled(terminal.Warn(s.Warn, terminal.Good), s.Value))
	}
	said := "nothing stands out"
	if n := len(r.Look.Findings); n > 0 {
		said = format.Plural(n, "thing stands out", "things stand out")
	}
	parts = append(parts, p.Styled(terminal.Warn(len(r.Look.Findings) > 0, terminal.Good), said))
	p.Line(strings.Join(parts, p.Styled(terminal.Dim, separator)))
	for _, alert := range r.Alerts {
		p.Paragraph(terminal.Warning, alert)
	}
}

// owners writes a row an owner. What has no place in the columns stands in a line below the row.
func (p page) owners(t *report.OwnerTable) {
	if len(t.Rows) == 0 {
		return
	}
	p.Section(t.Title, "")
	tab := terminal.Table{Columns: []terminal.Column{{}, {Title: "sockets", Right: true}, {Title: "slab", Right: true},
		{Title: "receive", Right: true}, {Title: "send", Right: true}, {Title: "unread", Right: true},
		{Title: "a socket", Right: true}, {Title: "idle", Right: true}}}
	for i := range t.Rows {
		tab.Add(ownerCells(&t.Rows[i])...)
	}
	if t.Others != nil {
		tab.Add(ownerCells(t.Others)...)
	}
	room := p.fit(&tab, 0) - 2
	said := belows(t, tab.Columns[0].Limit)
	if beside := !slices.ContainsFunc(said, func(s string) bool { return utf8.RuneCountInString(s) > room }); beside {
		tab.Columns = append(tab.Columns, terminal.Column{})
		for i, s := range said {
			tab.Rows[i] = append(tab.Rows[i], terminal.Dim.Cell(s))
		}
		said = make([]string, len(said))
	}
	widths := tab.Widths()
	p.Heads(&tab, widths)
	for i, cells := range tab.Rows {
		p.Cells(&tab, widths, cells)
		if i < len(said) && said[i] != "" {
			p.Line("    ", p.Styled(terminal.Dim, format.Shorten(said[i], p.Width-4)))
		}
	}
}

// belows are what the columns leave open of each row, a name that is cut among it.
func belows(t *report.OwnerTable, nameWidth int) []string {
	said := make([]string, len(t.Rows))
	for i := range t.Rows {
		r := &t.Rows[i]
		var parts []string
		if utf8.RuneCountInString(r.Name()) > nameWidth {
			parts = append(parts, r.Name())
		}
		if !slices.Contains(t.Heads, "state") {
			parts = append(parts, r.StateList())
		}
		parts = append(parts, r.Where)
		said[i] = strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), separator)
	}
	return said
}

// minName and maxName bound columns whose names come from others.
const (
	minName = 12
	maxName = 44
)

// fit cuts the names in a table's first columns until it is no wider than the page, and returns what is left of it.
func (p page) fit(tab *terminal.Table, columns ...int) (left int) {
	for limit := maxName; ; limit-- {
		for _, c := range columns {
			tab.Columns[c].Limit = limit
		}
		if left = p.Width - tableWidth(tab); left >= 0 || limit == minName {
			return left
		}
	}
}

func tableWidth(tab *terminal.Table) int {
	width := 0
	for _, w := range tab.Widths() {
		width += w + 2
	}
	return width
}

func ownerCells(r *report.OwnerRow) []terminal.Cell {
	size := func(b uint64) terminal.Cell {
		if b == 0 {
			return terminal.Dim.Cell(format.None)
		}
		return terminal.Normal.Cell(format.Compact(float64(b)))
	}
	idle, each := format.None, format.None
	if r.Idle != nil {
		idle = format.Span(*r.Idle)
	}
	if r.All() > 0 {
		each = format.Compact(r.Each())
	}
	return []terminal.Cell{terminal.Bold.Cell(r.Name()), terminal.Normal.Cell(format.Count(r.Sockets)), size(r.Slab), size(r.Receive),
		size(r.Send), size(r.Unread), terminal.Normal.Cell(each), terminal.Normal.Cell(idle)}
}

// findings are left out where nothing stands out.
func (p page) findings(list []report.Finding) { p.findingsAs("What stands out", list) }

func (p page) findingsAs(title string, list []report.Finding) {
	if len(list) == 0 {
		return
	}
	p.Section(title, "")
	for _, f := range list {
		p.Paragraph(terminal.Warning, f.Sentence)
		if f.Advice != "" {
			p.Indented(4, terminal.Normal, f.Advice)
		}
	}
}

func (p page) objects(t *report.ObjectTable) {
	if len(t.Lines) == 0 {
		return
	}
	p.Section("By object", "")
	tab := terminal.Table{Columns: []terminal.Column{{Title: "object"}, {Title: "slab cache"},
		{Title: "count", Right: true}, {Title: "B/object", Right: true}, {Title: "slab", Right: true}, {Title: "share", Right: true}, {}}}
	for _, o := range t.Lines {
		tab.Add(terminal.Normal.Cell(o.Type), terminal.Dim.Cell(o.Cache), terminal.Normal.Cell(o.Count),
			terminal.Normal.Cell(o.EachObject), terminal.Bold.Cell(o.Page), terminal.Normal.Cell(o.Share),
			terminal.Blue.Cell(terminal.Bar(o.Fraction, barWidth)))
	}
	none := terminal.Cell{}
	tab.Rule()
	tab.Add(terminal.Bold.Cell("total"), none, none, none, terminal.Bold.Cell(t.Page), none, none)
	if p.fit(&tab, 0, 1) < 0 {
		tab.Drop(len(tab.Columns) - 1)
	}
	p.Table(&tab)
}

func (p page) books(books []report.Book) {
	if len(books) == 0 {
		return
	}
	p.Section("The books", "the kernel's own figures for the whole host")
	tab := terminal.Table{Columns: []terminal.Column{{}, {Title: "kernel", Right: true}, {Title: "found", Right: true},
		{Title: "remainder", Right: true}}}
	for _, b := range books {
		tab.Add(key(b.Name), terminal.Normal.Cell(b.Kernel), terminal.Normal.Cell(b.Found),
			terminal.Warn(b.Warn, terminal.Bold).Cell(b.Rest))
	}
	left := tableWidth(&tab) + 2
	all := terminal.Table{Columns: append(slices.Clone(tab.Columns), terminal.Column{})}
	for i, b := range books {
		cells := tab.Rows[i]
		for _, line := range terminal.Wrap(b.How, max(p.Width-left, minName)) {
			all.Add(append(slices.Clone(cells), terminal.Dim.Cell(line))...)
			cells = make([]terminal.Cell, len(cells))
		}
	}
	p.Table(&all)
}
