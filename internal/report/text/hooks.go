package text

import (
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/terminal"
)

func (p page) hooks(tables []report.HookTable) {
	p.Section("Hooks", "")
	if len(tables) == 0 {
		p.Paragraph(terminal.Dim, "none")
	}
	for i := range tables {
		p.Label(tables[i].Label, i > 0)
		if len(tables[i].Lines) == 0 {
			p.Paragraph(terminal.Dim, "none")
		} else {
			p.hookTable(&tables[i])
		}
	}
}

func (p page) hookTable(hooks *report.HookTable) {
	tab := terminal.Table{Columns: []terminal.Column{{Limit: 20}, {Limit: 12}, {Limit: 32}}}
	for _, head := range hooks.Heads {
		tab.Columns = append(tab.Columns, terminal.Column{Title: head, Right: true})
	}
	if len(hooks.Heads) == 0 {
		tab.Columns = append(tab.Columns, terminal.Column{Right: true})
	}
	for _, h := range hooks.Lines {
		cells := []terminal.Cell{terminal.Normal.Cell(h.Name), terminal.Warn(!h.Attached, terminal.Blue).Cell(h.Kind),
			terminal.Normal.Cell(h.Function)}
		for _, hits := range h.Hits {
			cells = append(cells, terminal.Warn(!h.Attached, terminal.Normal).Cell(hits))
		}
		tab.Add(cells...)
	}
	widths := tab.Widths()
	if len(hooks.Heads) > 0 {
		p.Heads(&tab, widths)
	}
	for i, row := range tab.Rows {
		p.hook(&tab, widths, row, hooks.Lines[i].Note)
	}
}

// hook puts a note beside its hook where it fits, and under it where it does not.
func (p page) hook(tab *terminal.Table, widths []int, row []terminal.Cell, note string) {
	used := 2
	for _, width := range widths {
		used += width + 2
	}
	if note != "" && used+format.Columns(note) <= terminal.Width {
		wide := terminal.Table{Columns: append(slices.Clone(tab.Columns), terminal.Column{})}
		p.Cells(&wide, append(slices.Clone(widths), 0), append(row, terminal.Dim.Cell(note)))
		return
	}
	p.Cells(tab, widths, row)
	if note != "" {
		p.Indented(widths[0]+4, terminal.Dim, strings.TrimSpace(note))
	}
}
