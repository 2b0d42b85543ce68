package report

import (
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Hook says which rung of the attach ladder a hook point got, and why no better one.
type Hook struct {
	Name, Kind, Function, Note string
	Hits                       []string // of each machine of the table
	Attached                   bool
}

// HookTable has the hooks of one machine, or of several that got the same.
type HookTable struct {
	Label string   // whose hooks these are, empty where there is one machine
	Heads []string // over the hits, empty for a single machine
	Lines []Hook
}

func hookTables(r *recording.Recording) []HookTable {
	var tables []HookTable
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

func newHookTable(machines []machine) HookTable {
	t := HookTable{Label: machines[0].label, Lines: hookLines(machines[0].Hooks)}
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
				hits = format.Count(m.Hooks[i].Hits)
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

func hookLines(hooks []recording.Hook) []Hook {
	lines := make([]Hook, len(hooks))
	for i, h := range hooks {
		hits := "not attached"
		if h.Attached {
			hits = format.Plural(h.Hits, "hit", "hits")
		}
		lines[i] = Hook{Name: format.Clean(string(h.Name)), Kind: format.Clean(string(h.Kind)), Function: format.Clean(h.Function),
			Note: format.Clean(h.Note), Hits: []string{hits}, Attached: h.Attached}
	}
	return lines
}
