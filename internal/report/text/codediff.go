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
	roles, shares := true, true
	if p.narrow(&tab) {
		tab.Drop(roleColumn)
		roles = false
	}
	if p.narrow(&tab) {
		tab.Drop(len(tab.Columns) - 1)
		shares = false
	}
	p.fit(&tab, 0)
	widths := tab.Widths()
	p.Heads(&tab, widths)
	for i, cells := range tab.Rows {
		p.Cells(&tab, widths, cells)
		if i < len(d.Rows) {
			p.Indented(4, terminal.Dim, codeBelow(&d.Rows[i], roles, shares))
		}
	}
}

// codeBelow is what has no place in the columns.
func codeBelow(c *report.CodeChange, roles, shares bool) string {
	var parts []string
	if !shares && c.ByOfThis != "" {
		parts = append(parts, c.ByOfThis)
	}
	if !roles && !c.NoRole {
		parts = append(parts, c.Role.String())
	}
	parts = append(parts, c.Path)
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
		s.Cell(signedCompact(float64(c.Is.Bytes) - float64(c.Was.Bytes))), s.Cell(c.ByOfThis)}
}

// signedCompact is a change of bytes in a narrow column.
func signedCompact(bytes float64) string {
	switch {
	case bytes > 0:
		return "+" + format.Compact(bytes)
	case bytes < 0:
		return "−" + format.Compact(-bytes)
	}
	return "0"
}
