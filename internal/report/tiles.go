package report

import (
	"fmt"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Tile is one headline figure.
type Tile struct {
	Label, Value, Unit, Detail string
	Warn                       bool
}

// tiles are the figures one looks for first: the cost, whether all connections came up, whether to believe it.
func tiles(r *recording.Recording) []Tile {
	c := connectionOf(r)
	var list []Tile
	if !c.opened {
		list = append(list, allTile(r), queuedTile(r))
	}
	if c.whole() && c.opened {
		list = append(list, sizeTile("a connection", c.pageBytes(), format.Decimal(c.pageBytes())+" B of slab pages"))
	}
	for _, row := range c.ends() {
		list = append(list, sizeTile(row.Role.String()+" endpoint", pageEach(row), format.Each(row.PageBytes, row.Count)+" B"))
	}
	if l := r.Load(); l != nil {
		list = append(list, establishedTile(l, r.Established()))
	}
	for _, m := range reconciled(r) {
		list = append(list, unexplainedTile(m))
	}
	if len(r.Profiled()) > 0 {
		list = append(list, lossTile(r))
	}
	return list
}

func establishedTile(l *recording.Load, established int) Tile {
	t := Tile{Label: "established", Value: format.Count(established),
		Detail: "of " + format.Count(l.Requested) + " requested", Warn: l.Failed > 0 || established < l.Requested}
	if l.ConnectsPerSecond > 0 {
		t.Detail += " · " + format.Count(int64(l.ConnectsPerSecond)) + "/s"
	}
	return t
}

// allTile and queuedTile are what the endpoints hold together.
func allTile(r *recording.Recording) Tile {
	return sizeTile("all endpoints", sumRows(r, rowPages), "slab pages")
}

func queuedTile(r *recording.Recording) Tile {
	return sizeTile("queued data", sumRows(r, rowBuffers), "not among the slab pages")
}

func rowPages(row *recording.EndpointRow) uint64 { return row.PageBytes }

func rowBuffers(row *recording.EndpointRow) uint64 { return row.BufferBytes }

func sumRows(r *recording.Recording, of func(*recording.EndpointRow) uint64) float64 {
	sum := 0.0
	for _, row := range r.Rows() {
		sum += float64(of(row))
	}
	return sum
}

func sizeTile(label string, bytes float64, detail string) Tile {
	value, unit, _ := strings.Cut(format.Size(bytes), " ")
	return Tile{Label: label, Value: value, Unit: unit, Detail: detail}
}

func unexplainedTile(m machine) Tile {
	share, warn := unexplainedShare(m.Reconcile)
	value, unit, _ := strings.Cut(share, " ")
	return Tile{Label: strings.TrimSpace("unexplained " + m.end), Value: value, Unit: unit, Warn: warn,
		Detail: fmt.Sprintf("%s of %s slab growth", format.SignedSize(left(m.Reconcile)),
			format.Size(float64(m.Reconcile.SlabDeltaBytes)))}
}

func lossTile(r *recording.Recording) Tile {
	t := Tile{Label: "lost events", Value: format.Count(r.Lost()), Warn: r.Lost() > 0}
	if machines := traced(r); len(machines) > 0 {
		sentence, _ := agreed(checksOf(machines))
		t.Detail = "trace and walk: " + sentence
	}
	return t
}
