package report

import (
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/recording"
)

// hookLine says which rung of the attach ladder a hook point got, and why no better one.
type hookLine struct {
	Name, Kind, Function, Note string
	Hits                       []string // of each machine of the table
	Attached                   bool
}

// hookTable has the hooks of one machine, or of several that got the same.
type hookTable struct {
	Label string   // whose hooks these are, empty where there is one machine
	Heads []string // over the hits, empty for a single machine
	Lines []hookLine
}

func hookTables(r *recording.Recording) []hookTable {
	var tables []hookTable
	for machines := profiled(r); len(machines) > 0; {
		first := machines[0]
		same := func(m machine) bool { return sameHooks(first.Hooks, m.Hooks) }
		alike := []machine{first}
		for _, m := range machines[1:] {
			if same(m) {
				alike = append(alike, m)
			}
		}
		tables = append(tables, newHookTable(alike))
		machines = slices.DeleteFunc(machines[1:], same)
	}
	return tables
}

func newHookTable(machines []machine) hookTable {
	t := hookTable{Label: machines[0].label, Lines: hookLines(machines[0].Hooks)}
	if len(machines) == 1 {
		return t
	}
	var labels []string
	for _, m := range machines {
		labels, t.Heads = append(labels, m.label), append(t.Heads, m.end+" hits")
	}
	t.Label = strings.Join(labels, " and ") + " alike"
	for i := range t.Lines {
		line := &t.Lines[i]
		line.Hits = nil
		for _, m := range machines {
			hits := "not attached"
			if line.Attached {
				hits = count(m.Hooks[i].Hits)
			}
			line.Hits = append(line.Hits, hits)
		}
	}
	return t
}

// sameHooks is whether two machines differ in nothing but how often their hooks fired.
func sameHooks(a, b []recording.Hook) bool {
	return len(a) > 0 && slices.EqualFunc(a, b, func(x, y recording.Hook) bool {
		x.Hits, y.Hits = 0, 0
		return x == y
	})
}

func hookLines(hooks []recording.Hook) []hookLine {
	lines := make([]hookLine, len(hooks))
	for i, h := range hooks {
		hits := "not attached"
		if h.Attached {
			hits = plural(h.Hits, "hit", "hits")
		}
		lines[i] = hookLine{Name: clean(string(h.Name)), Kind: clean(string(h.Kind)), Function: clean(h.Function), Note: clean(h.Note),
			Hits: []string{hits}, Attached: h.Attached}
	}
	return lines
}

func textHooks(t *terminal, r *recording.Recording) {
	t.section("Hooks", "")
	tables := hookTables(r)
	if len(tables) == 0 {
		t.paragraph(dim, "none")
	}
	for i, tab := range tables {
		t.machine(tab.Label, i > 0)
		if len(tab.Lines) == 0 {
			t.paragraph(dim, "none")
		} else {
			t.hooks(&tab)
		}
	}
}

func (t *terminal) hooks(hooks *hookTable) {
	tab := table{columns: []column{{limit: 20}, {limit: 12}, {limit: 32}, {right: true}}}
	for i, head := range hooks.Heads {
		tab.columns = append(tab.columns[:3+i], column{title: head, right: true})
	}
	for _, h := range hooks.Lines {
		cells := []cell{{h.Name, normal}, {h.Kind, warnStyle(!h.Attached, blue)}, {h.Function, normal}}
		for _, hits := range h.Hits {
			cells = append(cells, cell{hits, warnStyle(!h.Attached, normal)})
		}
		tab.add(cells...)
	}
	widths := tab.widths()
	used := 2
	for _, width := range widths {
		used += width + 2
	}
	if len(hooks.Heads) > 0 {
		t.heads(&tab, widths)
	}
	for i, row := range tab.rows {
		t.hook(&tab, widths, row, hooks.Lines[i].Note, used)
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
