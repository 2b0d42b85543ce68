package report

import (
	"math"
	"sort"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// objectChange is one object type of one role and state in two recordings.
type objectChange struct {
	objectType, cache string
	was, is           float64 // page bytes an endpoint
}

func (o *objectChange) change() float64 { return o.is - o.was }

// changed ignores what the last digit shown cannot tell.
func changed(change float64) bool { return math.Abs(change) >= 0.05 }

// rowChange is one endpoint row, role and state, in two recordings; either side may be missing.
type rowChange struct {
	role    kernel.Role
	state   string
	was, is *recording.EndpointRow
	objects []*objectChange // the largest change first
}

func (c *rowChange) change() float64 { return pageEach(c.is) - pageEach(c.was) }

func (c *rowChange) changed() bool {
	if (c.is == nil) != (c.was == nil) || changed(c.change()) {
		return true
	}
	for _, o := range c.objects {
		if changed(o.change()) {
			return true
		}
	}
	return false
}

func rowCount(row *recording.EndpointRow) int {
	if row == nil {
		return 0
	}
	return max(row.Count, 0)
}

// compareRows pairs the endpoint rows of two recordings by role and state.
func compareRows(older, newer *recording.Recording) []*rowChange {
	var rows []*rowChange
	find := func(row *recording.EndpointRow) *rowChange {
		for _, c := range rows {
			if c.role == row.Role && c.state == row.State {
				return c
			}
		}
		c := &rowChange{role: row.Role, state: row.State}
		rows = append(rows, c)
		return c
	}
	for _, row := range sortedRows(newer) {
		find(row).is = row
	}
	for _, row := range sortedRows(older) {
		find(row).was = row
	}
	for _, c := range rows {
		c.objects = compareObjects(c.was, c.is)
	}
	sort.SliceStable(rows, func(i, j int) bool { return rows[i].role != rows[j].role && roleLess(rows[i].role, rows[j].role) })
	return rows
}

func compareObjects(was, is *recording.EndpointRow) []*objectChange {
	var objects []*objectChange
	byType := map[[2]string]*objectChange{}
	find := func(o recording.ObjectRow) *objectChange {
		key := [2]string{o.Type, o.Cache}
		if byType[key] == nil {
			byType[key] = &objectChange{objectType: o.Type, cache: o.Cache}
			objects = append(objects, byType[key])
		}
		return byType[key]
	}
	if is != nil && is.Count > 0 {
		for _, o := range is.Objects {
			find(o).is += float64(o.PageBytes) / float64(is.Count)
		}
	}
	if was != nil && was.Count > 0 {
		for _, o := range was.Objects {
			find(o).was += float64(o.PageBytes) / float64(was.Count)
		}
	}
	sort.SliceStable(objects, func(i, j int) bool { return objectBefore(objects[i], objects[j]) })
	return objects
}

func objectBefore(a, b *objectChange) bool {
	x, y := math.Abs(a.change()), math.Abs(b.change())
	switch {
	case changed(x - y):
		return x > y
	case a.is != b.is:
		return a.is > b.is
	}
	return a.objectType < b.objectType
}
