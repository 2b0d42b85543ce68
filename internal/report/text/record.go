package text

import (
	"fmt"
	"io"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/terminal"
)

// Bounds of a record's tables on a terminal.
const (
	mostFailures = 10
	mostChurn    = 15
)

// writeRecord writes what was opened and by which code, and then what a look has.
func (f Format) writeRecord(w io.Writer, r *report.Report) error {
	p, v := f.lookPage(w), r.Record
	for _, line := range terminal.Wrap(v.Sentence+" "+v.Rest+" "+r.Look.Took, p.Width) {
		p.Line(p.Styled(terminal.Bold, line))
	}
	p.recordStatus(r)
	p.openers(&v.Openers)
	p.findingsAs("What grows", v.Grows)
	p.failures(v)
	p.churn(v)
	p.owners(&r.Look.Owners)
	p.owners(&r.Look.Nobody)
	p.findings(r.Look.Findings)
	p.objects(&r.Look.Objects)
	p.books(r.Look.Books)
	if len(v.Stacks) > 0 {
		p.facts("How much of the code is known", v.Stacks)
	}
	p.facts("How it was watched", r.Look.How)
	p.notes(r.Notes)
	return p.Flush()
}

// recordStatus says in a line whether to worry.
func (p page) recordStatus(r *report.Report) {
	var parts []string
	for _, s := range r.Status {
		parts = append(parts, p.Styled(terminal.Warn(s.Warn, terminal.Good), s.Value))
	}
	grows, stands := "nothing grows all the time", "nothing stands out"
	if n := len(r.Record.Grows); n > 0 {
		grows = format.Plural(n, "path grows", "paths grow")
	}
	if n := len(r.Look.Findings); n > 0 {
		stands = format.Plural(n, "thing stands out", "things stand out")
	}
	parts = append(parts, p.Styled(terminal.Warn(len(r.Record.Grows) > 0, terminal.Good), grows),
		p.Styled(terminal.Warn(len(r.Look.Findings) > 0, terminal.Good), stands))
	p.Line(strings.Join(parts, p.Styled(terminal.Dim, separator)))
	for _, alert := range r.Alerts {
		p.Paragraph(terminal.Warning, alert)
	}
}

// openers writes a row of figures for each code path, and the path below it.
func (p page) openers(t *report.OpenerTable) {
	if len(t.Rows) == 0 {
		return
	}
	p.Section("By code path", "what is still open first; closed has failed in it")
	tab := terminal.Table{Columns: []terminal.Column{{}, {Title: "role"}, {Title: "opened", Right: true}, {Title: "closed", Right: true},
		{Title: "failed", Right: true}, {Title: "open", Right: true}, {Title: "bytes", Right: true}, {Title: "lived p50", Right: true},
		{Title: "p90", Right: true}, {Title: "p99", Right: true}}}
	for i := range t.Rows {
		tab.Add(openerCells(&t.Rows[i])...)
	}
	if t.Others != nil {
		tab.Add(openerCells(t.Others)...)
	}
	roles, lives := true, true
	if p.narrow(&tab) {
		tab.Drop(roleColumn)
		roles = false
	}
	if p.narrow(&tab) {
		for range 3 {
			tab.Drop(len(tab.Columns) - 1)
		}
		lives = false
	}
	p.fit(&tab, 0)
	widths := tab.Widths()
	p.Heads(&tab, widths)
	for i, cells := range tab.Rows {
		p.Cells(&tab, widths, cells)
		if i < len(t.Rows) {
			p.Indented(4, terminal.Dim, openerBelow(&t.Rows[i], roles, lives))
		}
	}
}

// roleColumn is that of the tables by code path.
const roleColumn = 1

// narrow tells whether the page has less than a table needs where no name is cut. Names are at most as long as maxName.
func (p page) narrow(tab *terminal.Table) bool {
	for i := range tab.Columns[:1] {
		tab.Columns[i].Limit = maxName
	}
	return tableWidth(tab) > p.Width
}

// openerBelow is what has no place in the columns.
func openerBelow(r *report.OpenerRow, roles, lives bool) string {
	var parts []string
	if role := roleOf(r); !roles && role != "" {
		parts = append(parts, role)
	}
	if r.Path() != r.Who {
		parts = append(parts, r.Path())
	}
	if r.Stack == recording.StackPart && len(r.Code) > 0 {
		parts = append(parts, "a part of the stack: "+r.Why)
	}
	if l := r.Lifetime; !lives && l != nil {
		parts = append(parts, fmt.Sprintf("lived p50 %s, p90 %s, p99 %s", report.Lived(l.P50), report.Lived(l.P90), report.Lived(l.P99)))
	}
	for _, s := range []string{r.States(), r.Where} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, separator)
}

func openerCells(r *report.OpenerRow) []terminal.Cell {
	count := func(n int, s terminal.Style) terminal.Cell {
		if n == 0 {
			return terminal.Dim.Cell(format.None)
		}
		return s.Cell(format.Count(n))
	}
	bytes := terminal.Dim.Cell(format.None)
	if r.All() > 0 {
		bytes = terminal.Bold.Cell(format.Compact(r.All()))
	}
	cells := []terminal.Cell{terminal.Bold.Cell(r.Who), terminal.Normal.Cell(roleOf(r)), count(r.Opened, terminal.Normal),
		count(r.Closed, terminal.Normal), count(r.Failed, terminal.Warning), count(r.Live, terminal.Bold), bytes}
	lived := []string{format.None, format.None, format.None}
	if l := r.Lifetime; l != nil {
		lived = []string{report.Lived(l.P50), report.Lived(l.P90), report.Lived(l.P99)}
	}
	for _, s := range lived {
		cells = append(cells, terminal.Normal.Cell(s))
	}
	return cells
}

// roleOf is empty where a row is of both ends, or of no known one.
func roleOf(r *report.OpenerRow) string {
	switch r.Kind {
	case recording.OpenerBefore, recording.OpenerUnseen, recording.OpenerOther:
		return ""
	}
	return r.Role.String()
}

func (p page) failures(v *report.Record) {
	if len(v.Failures) == 0 && v.NeverConnected == "" {
		return
	}
	p.Section("What failed", "")
	tab := terminal.Table{Columns: []terminal.Column{{Title: "connects", Right: true}, {Title: "error"}, {Title: "by"}, {}}}
	for _, f := range v.Failures[:min(len(v.Failures), mostFailures)] {
		tab.Add(terminal.Bold.Cell(format.Count(f.Count)), terminal.Warning.Cell(f.Error), terminal.Normal.Cell(f.Who), terminal.Normal.Cell(f.Path))
	}
	if len(v.Failures) > 0 {
		tab.Columns[1].Limit, tab.Columns[2].Limit = maxName/2, maxName/2
		widths := tab.Widths()
		tab.Columns[3].Limit = max(p.Width-(widths[0]+widths[1]+widths[2]+8), minName)
		p.Table(&tab)
	}
	if rest := len(v.Failures) - mostFailures; rest > 0 {
		p.Paragraph(terminal.Dim, "and "+format.Plural(rest, "more reason", "more reasons"))
	}
	if v.NeverConnected != "" {
		p.Paragraph(terminal.Normal, v.NeverConnected)
	}
}

func (p page) churn(v *report.Record) {
	if len(v.Churn) == 0 {
		return
	}
	p.Section("By peer and listener", "")
	tab := terminal.Table{Columns: []terminal.Column{{}, {Title: "opened", Right: true}, {Title: "a second", Right: true},
		{Title: "closed", Right: true}, {Title: "failed", Right: true}, {Title: "open", Right: true}}}
	for i := range v.Churn[:min(len(v.Churn), mostChurn)] {
		c := &v.Churn[i]
		tab.Add(terminal.Bold.Cell(c.What), terminal.Normal.Cell(format.Count(c.Opened)), terminal.Normal.Cell(strings.TrimSuffix(c.Rate, "/s")),
			terminal.Normal.Cell(format.Count(c.Closed)), terminal.Warn(c.Failed > 0, terminal.Dim).Cell(format.Count(c.Failed)),
			terminal.Bold.Cell(format.Count(c.Live)))
	}
	p.fit(&tab, 0)
	p.Table(&tab)
	if rest := len(v.Churn) - mostChurn; rest > 0 {
		p.Paragraph(terminal.Dim, fmt.Sprintf("and %s", format.Plural(rest, "more", "more")))
	}
}
