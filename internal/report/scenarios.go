package report

import (
	"io"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Scenarios writes one table of what an endpoint costs in every scenario: a row for each role and state of each
// recording, in the recordings' order. Bytes are averages over the endpoints of a row. The error is w's.
func Scenarios(w io.Writer, recordings []*recording.Recording, opts TextOptions) error {
	t := newTerminal(w, opts.Color)
	tab := table{columns: []column{{title: "scenario", limit: 14}, {title: "role", limit: 10}, {title: "state", limit: 12},
		{title: "endpoints", right: true}, {title: "object B each", right: true}, {title: "page B each", right: true},
		{title: "buffer B each", right: true}, {title: "unexplained", right: true}}}
	for _, r := range recordings {
		left := map[string]machine{} // what is still to be said of a kernel, by the end that it has
		for _, m := range reconciled(r) {
			left[m.end] = m
		}
		name := clean(r.Scenario())
		for _, row := range sortedRows(r) {
			if row.Role == kernel.RoleListener && r.Scenario() != scenarioListen {
				continue // the run's own listener
			}
			share, warn := "", false
			for _, end := range []string{"", row.Role.String()} {
				if m, found := left[end]; found {
					share, warn = unexplainedShare(m.Reconcile)
					delete(left, end)
				}
			}
			tab.add(cell{name, normal}, cell{row.Role.String(), normal}, cell{clean(row.State), normal},
				cell{count(row.Count), normal}, cell{each(row.ObjectBytes, row.Count), normal},
				cell{each(row.PageBytes, row.Count), bold}, cell{each(row.BufferBytes, row.Count), normal},
				cell{share, warnStyle(warn, normal)})
			name = ""
		}
	}
	t.table(&tab)
	return t.flush()
}
