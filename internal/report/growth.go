package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Growth is how two looks at a host differ: by owner and by object, what grew most first.
type Growth struct {
	Title   string // by process
	Owners  []GrowthRow
	Others  *GrowthRow // the sum of the owners beyond the bound, nil where there is none
	Same    int        // owners that have as much as before
	Objects []GrowthRow
	// All has every owner that has more or less than before.
	All     []GrowthRow
	was, is *recording.Machine
}

// GrowthRow is what an owner has in two looks, or what there is of an object. Bytes are slab pages and, of owners, buffers.
type GrowthRow struct {
	Name, Where           string
	WasCount, IsCount     int
	Was, Is               uint64
	Count, Size           string // now
	ByCount, By, ByOfThis string // the change, and its share of what there was
	Grew, Changed         bool
	id                    string
	sorted                float64 // the change of what the rows are sorted by
}

func (g *GrowthRow) change() float64 { return float64(g.Is) - float64(g.Was) }

// CountChange and ByteChange are the change as other programs read it.
func (g *GrowthRow) CountChange() string {
	return format.Plain(float64(g.IsCount) - float64(g.WasCount))
}

// ByteChange is that of the bytes.
func (g *GrowthRow) ByteChange() string { return format.Plain(g.change()) }

// finish writes the change out.
func (g *GrowthRow) finish() {
	g.Count, g.Size = format.Count(g.IsCount), format.Size(float64(g.Is))
	if g.IsCount == 0 && g.WasCount == 0 {
		g.Count = format.None // bytes that are no objects
	}
	g.Grew, g.Changed = g.change() > 0 || g.change() == 0 && g.IsCount > g.WasCount, g.Was != g.Is || g.WasCount != g.IsCount
	g.ByCount, g.By = format.Signed(int64(g.IsCount)-int64(g.WasCount)), format.SignedSize(g.change())
	switch {
	case g.Was == 0 && g.WasCount == 0:
		g.ByOfThis = "new"
	case g.Is == 0 && g.IsCount == 0:
		g.ByOfThis = "gone"
	default:
		g.ByOfThis = format.SignedPercent(g.change(), float64(g.Was))
	}
}

// lookIn is the machine that a recording's look is of, nil where it has none.
func lookIn(r *recording.Recording) *recording.Machine {
	for _, m := range r.Machines {
		if m.Look != nil {
			return m
		}
	}
	return nil
}

// growthOf is nil where not both recordings are looks.
func growthOf(older, newer *recording.Recording, o Options) *Growth {
	was, is := lookIn(older), lookIn(newer)
	if was == nil || is == nil {
		return nil
	}
	g := &Growth{Title: "By " + strings.Join(o.By, " and "), Objects: objectGrowth(was, is), was: was, is: is}
	for _, row := range ownerGrowth(was, is, o) {
		if row.Changed {
			g.All = append(g.All, row)
		} else {
			g.Same++
		}
	}
	g.Owners = g.All[:min(o.Rows, len(g.All))]
	if rest := g.All[len(g.Owners):]; len(rest) > 0 {
		g.Others = &GrowthRow{Name: format.Plural(len(rest), "other", "others")}
		for _, row := range rest {
			g.Others.Was, g.Others.Is = g.Others.Was+row.Was, g.Others.Is+row.Is
			g.Others.WasCount, g.Others.IsCount = g.Others.WasCount+row.WasCount, g.Others.IsCount+row.IsCount
		}
		g.Others.finish()
	}
	return g
}

// Page is as many of All as a page has place for.
func (g *Growth) Page() []GrowthRow { return g.All[:min(maxOwners, len(g.All))] }

// growths pairs rows by what tells them apart.
type growths struct {
	rows []*GrowthRow
	at   map[string]*GrowthRow
}

func (g *growths) row(id, name, where string) *GrowthRow {
	if g.at == nil {
		g.at = map[string]*GrowthRow{}
	}
	if g.at[id] == nil {
		g.at[id] = &GrowthRow{Name: name, Where: where, id: id}
		g.rows = append(g.rows, g.at[id])
	}
	return g.at[id]
}

// ordered are the rows, what grew most first and what shrank most last.
func (g *growths) ordered() []GrowthRow {
	rows := make([]GrowthRow, len(g.rows))
	for i, row := range g.rows {
		row.finish()
		rows[i] = *row
	}
	slices.SortStableFunc(rows, func(a, b GrowthRow) int {
		return cmp.Or(cmp.Compare(b.sorted, a.sorted), cmp.Compare(b.change(), a.change()), cmp.Compare(b.IsCount-b.WasCount, a.IsCount-a.WasCount),
			strings.Compare(a.Name, b.Name), strings.Compare(a.id, b.id))
	})
	return rows
}

func ownerGrowth(was, is *recording.Machine, o Options) []GrowthRow {
	var g growths
	figure := orderOf(o.Sort).of
	newer, _ := GroupBy(is, o.By) // the options have been checked
	for i := range newer {
		row := g.row(newer[i].id, newer[i].Name(), newer[i].Where)
		row.IsCount, row.Is = newer[i].Sockets, newer[i].Slab+newer[i].Buffers
		row.sorted += figure(&newer[i])
	}
	older, _ := GroupBy(was, o.By)
	for i := range older {
		row := g.row(older[i].id, older[i].Name(), older[i].Where)
		row.WasCount, row.Was = older[i].Sockets, older[i].Slab+older[i].Buffers
		row.sorted -= figure(&older[i])
	}
	return g.ordered()
}

// objectGrowth has the queues as well, which are no objects of a slab cache.
func objectGrowth(was, is *recording.Machine) []GrowthRow {
	var g growths
	for _, side := range []struct {
		m  *recording.Machine
		of func(*GrowthRow) (*int, *uint64)
	}{{is, func(r *GrowthRow) (*int, *uint64) { return &r.IsCount, &r.Is }},
		{was, func(r *GrowthRow) (*int, *uint64) { return &r.WasCount, &r.Was }}} {
		for _, o := range objectSums(side.m) {
			count, bytes := side.of(g.row(joined(o.Type, o.Cache), format.Clean(o.Type), format.Clean(o.Cache)))
			*count, *bytes = o.Count, o.PageBytes
		}
		sum, _ := sumOf(side.m)
		_, bytes := side.of(g.row("buffers", "queued data", "no slab"))
		*bytes = sum.Buffers
	}
	return slices.DeleteFunc(g.ordered(), func(r GrowthRow) bool { return !r.Changed })
}

// growthAnswer is what TCP holds now, and how that differs.
func growthAnswer(older, newer *recording.Recording) DiffAnswer {
	a, n := sumOf(lookIn(older))
	b, k := sumOf(lookIn(newer))
	answer := DiffAnswer{Sentence: fmt.Sprintf("%s hold %s of slab and %s of buffers", format.Plural(k, "TCP socket", "TCP sockets"),
		format.Size(float64(b.Slab)), format.Size(float64(b.Buffers)))}
	change, more := b.All()-a.All(), "more"
	if change < 0 {
		more = "less"
	}
	sockets := format.Signed(int64(k)-int64(n)) + " sockets"
	switch {
	case change == 0 && k == n:
		answer.Detail, answer.Same = "as many sockets and bytes as before", true
	case change == 0:
		answer.Detail = "as many bytes as before, " + sockets
	default:
		answer.Detail = fmt.Sprintf("%s %s than before (%s, from %s), %s", format.Size(math.Abs(change)), more,
			format.SignedPercent(change, a.All()), format.Size(a.All()), sockets)
	}
	return answer
}

// growthTiles are the figures of growthAnswer.
func growthTiles(older, newer *recording.Recording) []Tile {
	a, n := sumOf(lookIn(older))
	b, k := sumOf(lookIn(newer))
	of := func(label string, was, is uint64) Tile {
		change := float64(is) - float64(was)
		return sizeTile(label, float64(is), format.SignedSize(change)+" ("+format.SignedPercent(change, float64(was))+")")
	}
	return []Tile{of("slab", a.Slab, b.Slab), of("buffers", a.Buffers, b.Buffers),
		{Label: "sockets", Value: format.Count(k), Detail: format.Signed(int64(k)-int64(n)) + " from " + format.Count(n)}}
}
