package text

import (
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/terminal"
)

// codeDiff writes which code paths have more open than before, or opened more.
func (p page) codeDiff(d *report.CodeDiff) {
	aside := ""
	if d.Same > 0 {
		aside = format.Count(d.Same) + " unchanged"
	}
	p.Section("By code path", aside)
	if len(d.All) == 0 {
		p.Paragraph(terminal.Dim, "unchanged")
		return
	}
	tab := terminal.Table{Columns: []terminal.Column{{}, {Title: "role"}, {Title: "opened", Right: true}, {Title: "change", Right: true},
		{Title: "open", Right: true}, {Title: "change", Right: true}, {Title: "bytes", Right: true}, {Title: "change", Right: true}, {Right: true}}}
	for i := range d.Rows {
		tab.Add(codeCells(&d.Rows[i])...)
	}
	if d.Others != nil {
		tab.Add(codeCells(d.Others)...)
	}
	if p.fit(&tab, 0) < 0 {
		tab.Drop(1)
		p.fit(&tab, 0)
	}
	widths := tab.Widths()
	p.Heads(&tab, widths)
	for i, cells := range tab.Rows {
		p.Cells(&tab, widths, cells)
		if i < len(d.Rows) {
			p.Indented(4, terminal.Dim, codeBelow(&d.Rows[i]))
		}
	}
}

func codeBelow(c *report.CodeChange) string {
	parts := []string{c.Path}
	if c.Was.Failed != c.Is.Failed {
		parts = append(parts, c.Failed+" failed")
	}
	if c.Where != "" {
		parts = append(parts, c.Where)
	}
	return strings.Join(parts, separator)
}

func codeCells(c *report.CodeChange) []terminal.Cell {
	s, role := terminal.Good, ""
	if c.Grew {
		s = terminal.Warning
	}
	if !c.NoRole {
		role = c.Role.String()
	}
	return []terminal.Cell{terminal.Bold.Cell(c.Who), terminal.Normal.Cell(role), terminal.Normal.Cell(format.Count(c.Is.Opened)), terminal.Dim.Cell(c.Opened),
		terminal.Normal.Cell(format.Count(c.Is.Live)), s.Cell(c.Open), terminal.Normal.Cell(format.Compact(float64(c.Is.Bytes))),
		s.Cell(c.By), s.Cell(c.ByOfThis)}
}
