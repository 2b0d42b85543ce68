package text

import (
	"fmt"
	"io"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/terminal"
)

// WriteDiff writes what an endpoint costs in two recordings, type by type.
func (f Format) WriteDiff(w io.Writer, d *report.Diff) error {
	p := f.page(w)
	if d.Growth != nil {
		p = f.lookPage(w)
	}
	s := terminal.Warning
	if d.Answer.Same {
		s = terminal.Good
	}
	if d.Code == nil {
		p.Line(p.Styled(terminal.Bold, d.Answer.Sentence))
		p.Line(p.Styled(s, d.Answer.Detail))
	} else {
		p.Indented(0, terminal.Bold, d.Answer.Sentence)
		p.Indented(0, s, d.Answer.Detail)
	}
	if d.Code != nil {
		p.codeDiff(d.Code)
	}
	if d.Growth != nil {
		p.growth(d.Growth)
	}
	p.recordings(d.Recordings)
	for i := range d.Rows {
		p.rowChange(&d.Rows[i])
	}
	p.warnings(d.Warnings)
	return p.Flush()
}

func (p page) recordings(list []report.Difference) {
	p.Section("Recordings", "")
	each := (p.Width - 20) / 2
	tab := terminal.Table{Columns: []terminal.Column{{}, {Title: "old", Limit: each}, {Title: "new", Limit: each}}}
	for _, f := range list {
		s := terminal.Normal
		if f.Was != f.Is {
			s = terminal.Bold
		}
		tab.Add(terminal.Dim.Cell(f.Key), s.Cell(f.Was), s.Cell(f.Is))
	}
	p.Table(&tab)
}

func (p page) rowChange(row *report.RowChange) {
	p.Section(row.Title, fmt.Sprintf("%s · %s, before %s", row.State, format.Count(row.Is), format.Count(row.Was)))
	if !row.Changed {
		p.Paragraph(terminal.Dim, "unchanged: "+row.Total.Is+" B an endpoint")
		return
	}
	tab := terminal.Table{Columns: []terminal.Column{{Title: "object", Limit: 24}, {Title: "slab cache", Limit: 20},
		{Title: "old page B each", Right: true}, {Title: "new page B each", Right: true}, {Title: "change", Right: true},
		{Right: true}}}
	for i := range row.Objects {
		o := &row.Objects[i]
		addChange(&tab, o, terminal.Normal.Cell(o.Type), terminal.Dim.Cell(o.Cache), terminal.Normal)
	}
	tab.Rule()
	addChange(&tab, &row.Total, terminal.Bold.Cell("total"), terminal.Cell{}, terminal.Bold)
	p.Table(&tab)
}

func addChange(tab *terminal.Table, c *report.Change, name, cache terminal.Cell, bytes terminal.Style) {
	s := terminal.Dim
	switch {
	case c.Grew && c.Changed:
		s = terminal.Warning
	case c.Changed:
		s = terminal.Good
	}
	tab.Add(name, cache, bytes.Cell(c.Was), bytes.Cell(c.Is), s.Cell(c.By), s.Cell(c.Percent))
}

func (p page) warnings(warnings []string) {
	if len(warnings) == 0 {
		return
	}
	p.Section("Before you rely on it", "")
	for _, sentence := range warnings {
		p.Paragraph(terminal.Warning, sentence)
	}
}
