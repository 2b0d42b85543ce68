package report

import (
	"fmt"
	"strings"

	"github.com/connprof/connprof/internal/account"
)

// tiles are the figures one looks for first: the cost, whether all connections came up, whether to believe it.
func tiles(r *recording.Recording, c connection) []tile {
	var list []tile
	if c.whole() {
		list = append(list, sizeTile("a connection", c.pageBytes(), decimal1(c.pageBytes())+" B of slab pages"))
	}
	for _, row := range []*recording.EndpointRow{c.client, c.server} {
		if row != nil {
			list = append(list, sizeTile(clean(row.Role)+" endpoint", pageEach(row), each(row.PageBytes, row.Count)+" B"))
		}
	}
	up := tile{Label: "established", Value: count(r.Load.Established), Detail: "of " + count(r.Load.Requested) + " requested",
		Warn: r.Load.Failed > 0 || r.Load.Established < r.Load.Requested}
	if r.Load.ConnectsPerSecond > 0 {
		up.Detail += " · " + count(int64(r.Load.ConnectsPerSecond)) + "/s"
	}
	list = append(list, up)
	for _, p := range accounts(r) {
		list = append(list, unexplainedTile(p))
	}
	return append(list, lossTile(r))
}

func sizeTile(label string, bytes float64, detail string) tile {
	value, unit, _ := strings.Cut(size(bytes), " ")
	return tile{Label: label, Value: value, Unit: unit, Detail: detail}
}

func unexplainedTile(p part) tile {
	share, warn := unexplainedShare(p.Recording)
	value, unit, _ := strings.Cut(share, " ")
	return tile{Label: strings.TrimSpace("unexplained " + p.role), Value: value, Unit: unit, Warn: warn,
		Detail: fmt.Sprintf("%s of %s slab growth", signedSize(left(p.Recording)), size(float64(p.Reconcile.SlabDeltaBytes)))}
}

func lossTile(r *recording.Recording) tile {
	n := lost(r)
	sentence, _ := agreed(checkLines(r))
	return tile{Label: "lost events", Value: count(n), Warn: n > 0, Detail: "trace and walk: " + sentence}
}
