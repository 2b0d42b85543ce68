package report

import (
	"fmt"

	"github.com/connprof/connprof/internal/recording"
)

// diffTiles put what an end costs now beside what it cost before.
func diffTiles(older, newer *recording.Recording) []tile {
	was, is := connectionOf(older), connectionOf(newer)
	list := []tile{changeTile("a connection", was.pageBytes(), is.pageBytes()),
		changeTile("client endpoint", pageEach(was.client), pageEach(is.client)),
		changeTile("server endpoint", pageEach(was.server), pageEach(is.server)),
		changeTile("queued data", was.bufferBytes(), is.bufferBytes())}
	for i := range list[:3] {
		list[i].Warn = is.whole() != was.whole()
	}
	return list
}

func changeTile(label string, was, is float64) tile {
	t := sizeTile(label, is, "")
	line := newChangeLine(was, is)
	switch {
	case !line.Changed:
		t.Detail = "unchanged"
	case was == 0:
		t.Detail = "none before"
	default:
		t.Detail = fmt.Sprintf("%s B (%s) from %s", line.Change, line.Percent, size(was))
	}
	return t
}

// diffView is what only the page of a difference has.
type diffView struct {
	Runs     []difference
	Rows     []diffRowView
	Warnings []string
}

type diffRowView struct {
	Title, State, Was, Is string
	Objects               []changeLine
	Total                 changeLine
}

func newDiffView(older, newer *recording.Recording, rows []*rowChange) *diffView {
	v := &diffView{Runs: runDifferences(older, newer), Warnings: diffWarnings(older, newer)}
	for _, row := range rows {
		view := diffRowView{Title: rowTitle(row.role), State: clean(row.state), Was: count(rowCount(row.was)),
			Is: count(rowCount(row.is)), Total: newChangeLine(pageEach(row.was), pageEach(row.is))}
		for _, o := range row.objects {
			view.Objects = append(view.Objects, o.line())
		}
		v.Rows = append(v.Rows, view)
	}
	return v
}
