package report

import (
	"fmt"
	"strings"

	"github.com/connprof/connprof/internal/recording"
)

// tiles are the figures one looks for first: the cost, whether all connections came up, whether to believe it.
func tiles(r *recording.Recording, c connection) []tile {
	var list []tile
	if !c.opened {
		list = append(list, allTile(r), queuedTile(r))
	}
	if c.whole() && c.opened {
		list = append(list, sizeTile("a connection", c.pageBytes(), decimal1(c.pageBytes())+" B of slab pages"))
	}
	for _, row := range []*recording.EndpointRow{c.client, c.server} {
		if row != nil {
			list = append(list, sizeTile(row.Role.String()+" endpoint", pageEach(row), each(row.PageBytes, row.Count)+" B"))
		}
	}
	if l := r.Load(); l != nil {
		list = append(list, establishedTile(l))
	}
	for _, m := range reconciled(r) {
		list = append(list, unexplainedTile(m))
	}
	if len(r.Profiled()) > 0 {
		list = append(list, lossTile(r))
	}
	return list
}

func establishedTile(l *recording.Load) tile {
	t := tile{Label: "established", Value: count(l.Established), Detail: "of " + count(l.Requested) + " requested",
		Warn: l.Failed > 0 || l.Established < l.Requested}
	if l.ConnectsPerSecond > 0 {
		t.Detail += " · " + count(int64(l.ConnectsPerSecond)) + "/s"
	}
	return t
}

// allTile and queuedTile are what the endpoints hold together.
func allTile(r *recording.Recording) tile {
	return sizeTile("all endpoints", sumRows(r, func(row *recording.EndpointRow) uint64 { return row.PageBytes }), "slab pages")
}

func queuedTile(r *recording.Recording) tile {
	return sizeTile("queued data", sumRows(r, func(row *recording.EndpointRow) uint64 { return row.BufferBytes }),
		"not among the slab pages")
}

func sumRows(r *recording.Recording, of func(*recording.EndpointRow) uint64) float64 {
	sum := 0.0
	for _, row := range r.Rows() {
		sum += float64(of(row))
	}
	return sum
}

func sizeTile(label string, bytes float64, detail string) tile {
	value, unit, _ := strings.Cut(size(bytes), " ")
	return tile{Label: label, Value: value, Unit: unit, Detail: detail}
}

func unexplainedTile(m machine) tile {
	share, warn := unexplainedShare(m.Reconcile)
	value, unit, _ := strings.Cut(share, " ")
	return tile{Label: strings.TrimSpace("unexplained " + m.end), Value: value, Unit: unit, Warn: warn,
		Detail: fmt.Sprintf("%s of %s slab growth", signedSize(left(m.Reconcile)), size(float64(m.Reconcile.SlabDeltaBytes)))}
}

func lossTile(r *recording.Recording) tile {
	t := tile{Label: "lost events", Value: count(r.Lost()), Warn: r.Lost() > 0}
	if machines := traced(r); len(machines) > 0 {
		sentence, _ := agreed(checkLines(machines))
		t.Detail = "trace and walk: " + sentence
	}
	return t
}
