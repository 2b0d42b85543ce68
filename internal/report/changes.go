package report

import (
	"fmt"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// RowChange is the endpoints of one role and state in two recordings.
type RowChange struct {
	Role         kernel.Role
	Title, State string
	Was, Is      int // endpoints
	Changed      bool
	Objects      []Change
	Total        Change
}

func (c *rowChange) shown() RowChange {
	row := RowChange{Role: c.role, Title: rowTitle(c.role), State: format.Clean(c.state), Was: rowCount(c.was),
		Is: rowCount(c.is), Changed: c.changed(), Total: newChange(pageEach(c.was), pageEach(c.is))}
	for _, o := range c.objects {
		row.Objects = append(row.Objects, o.shown())
	}
	return row
}

// Change is an object type, or a row's total, in two recordings.
type Change struct {
	Type, Cache       string
	Was, Is           string // page bytes an endpoint
	WasBytes, IsBytes float64
	By, Percent       string
	Changed, Grew     bool
	Category          string
}

func newChange(was, is float64) Change {
	line := Change{Was: format.Decimal(was), Is: format.Decimal(is), WasBytes: was, IsBytes: is, By: "=",
		Changed: changed(is - was), Grew: is > was}
	if line.Changed {
		line.By = format.Decimal(is - was)
		if line.Grew {
			line.By = "+" + line.By
		}
		line.Percent = format.SignedPercent(is-was, was)
		if was == 0 {
			line.Percent = "new"
		}
		if is == 0 {
			line.Percent = "gone"
		}
	}
	return line
}

func (o *objectChange) shown() Change {
	line := newChange(o.was, o.is)
	line.Type, line.Cache = format.Clean(o.objectType), format.Clean(o.cache)
	line.Category = Categories[CategoryOf(o.objectType)].ID
	return line
}

// diffTiles put what an end costs now beside what it cost before.
func diffTiles(older, newer *recording.Recording) []Tile {
	was, is := connectionOf(older), connectionOf(newer)
	list := []Tile{changeTile("a connection", was.pageBytes(), is.pageBytes()),
		changeTile("client endpoint", pageEach(was.client), pageEach(is.client)),
		changeTile("server endpoint", pageEach(was.server), pageEach(is.server)),
		changeTile("queued data", was.bufferBytes(), is.bufferBytes())}
	for i := range list[:3] {
		list[i].Warn = is.whole() != was.whole()
	}
	if !was.opened && !is.opened { // then no two ends are a connection
		list[0] = changeTile("all endpoints", sumRows(older, rowPages), sumRows(newer, rowPages))
		list[3] = changeTile("queued data", sumRows(older, rowBuffers), sumRows(newer, rowBuffers))
	}
	return list
}

func changeTile(label string, was, is float64) Tile {
	t := sizeTile(label, is, "")
	line := newChange(was, is)
	switch {
	case !line.Changed:
		t.Detail = "unchanged"
	case was == 0:
		t.Detail = "none before"
	default:
		t.Detail = fmt.Sprintf("%s B (%s) from %s", line.By, line.Percent, format.Size(was))
	}
	return t
}

// nothingChanged is whether every row costs the same in both recordings.
func nothingChanged(rows []*rowChange) bool {
	for _, c := range rows {
		if c.changed() {
			return false
		}
	}
	return true
}
