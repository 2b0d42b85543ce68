package text

import (
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/terminal"
)

// stays says what slab memory holds after the close: first in a sentence, then when, then in which cache.
func (p page) stays(s *report.Stays) {
	if s.Verdict == "" {
		return
	}
	p.Section("What stays", "after the close, against before the first connection")
	p.Paragraph(terminal.Warn(s.Warn, terminal.Good), s.Verdict)
	for _, f := range s.Facts {
		p.fact(f)
	}
	p.Line()
	when := terminal.Table{Columns: []terminal.Column{{Title: "after the close"}, {Title: "TIME_WAIT", Right: true},
		{Title: "other sockets", Right: true}, {Title: "their objects", Right: true}, {Title: "Slab of the host", Right: true}, {Right: true}}}
	for _, m := range s.Moments {
		when.Add(terminal.Normal.Cell(m.After), terminal.Normal.Cell(m.TimeWait), terminal.Normal.Cell(m.Others),
			terminal.Normal.Cell(m.InSockets), terminal.Normal.Cell(m.Slab), terminal.Dim.Cell(m.Error))
	}
	p.Table(&when)
	p.Line()
	p.stayCaches(s.Heads, s.Caches, s.Rest)
}

// fewHeads is how many moments leave the names all the space that they want.
const fewHeads = 5

// stayCaches lists objects, without those of the sockets that are still there.
func (p page) stayCaches(heads []string, caches []report.StayLine, rest string) {
	names, types := 18, 14
	if len(heads) > fewHeads {
		names, types = 16, 11
	}
	tab := terminal.Table{Columns: []terminal.Column{{Title: "slab cache", Limit: names}, {Title: "object", Limit: types}}}
	for _, head := range heads {
		tab.Columns = append(tab.Columns, terminal.Column{Title: head, Right: true})
	}
	tab.Columns = append(tab.Columns, terminal.Column{Title: "error", Right: true}, terminal.Column{Title: "each", Right: true})
	for _, c := range caches {
		row := []terminal.Cell{terminal.Normal.Cell(c.Cache), terminal.Dim.Cell(c.Types)}
		for _, left := range c.Left {
			row = append(row, terminal.Normal.Cell(left))
		}
		tab.Add(append(row, terminal.Dim.Cell(c.Error), terminal.Warn(c.Warn, terminal.Normal).Cell(c.Each))...)
	}
	p.Table(&tab)
	if rest != "" {
		p.Paragraph(terminal.Dim, rest)
	}
}

// cycles says what grew as connections were opened and closed again and again.
func (p page) cycles(c *report.Cycles) {
	if c.Verdict == "" {
		return
	}
	p.Section("What grew", "with each opening and closing after the first")
	p.Paragraph(terminal.Warn(c.Warn, terminal.Good), c.Verdict)
	for _, f := range c.Facts {
		p.fact(f)
	}
	p.Line()
	p.stayCaches(c.Heads, c.Caches, c.Rest)
}
