package text

import (
	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/terminal"
)

// growth writes who has more than before, and which objects.
func (p page) growth(g *report.Growth) {
	aside := ""
	if g.Same > 0 {
		aside = format.Count(g.Same) + " unchanged"
	}
	p.Section(g.Title, aside)
	p.growthTable(g.Owners, g.Others, "sockets")
	p.Section("By object", "")
	p.growthTable(g.Objects, nil, "objects")
}

func (p page) growthTable(rows []report.GrowthRow, others *report.GrowthRow, counted string) {
	if len(rows) == 0 {
		p.Paragraph(terminal.Dim, "unchanged")
		return
	}
	tab := terminal.Table{Columns: []terminal.Column{{}, {}, {Title: counted, Right: true}, {Title: "change", Right: true},
		{Title: "bytes", Right: true}, {Title: "change", Right: true}, {Right: true}}}
	add := func(r *report.GrowthRow) {
		s := terminal.Dim
		switch {
		case r.Grew && r.Changed:
			s = terminal.Warning
		case r.Changed:
			s = terminal.Good
		}
		tab.Add(terminal.Bold.Cell(r.Name), terminal.Dim.Cell(r.Where), terminal.Normal.Cell(r.Count), s.Cell(r.ByCount),
			terminal.Normal.Cell(r.Size), s.Cell(r.By), s.Cell(r.ByOfThis))
	}
	for i := range rows {
		add(&rows[i])
	}
	if others != nil {
		add(others)
	}
	if p.fit(&tab, 0, 1) < 0 {
		tab.Drop(1)
		p.fit(&tab, 0)
	}
	p.Table(&tab)
}
