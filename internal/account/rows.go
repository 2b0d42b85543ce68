package account

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// cell sums the objects of one type in one cache within a row.
type cell struct {
	kind kernel.ObjectType
	cost ObjectCost
}

// totals is what n objects are in whole numbers.
func (c cell) totals(n float64) (count int, object, page uint64) {
	whole := math.Round(n)
	return int(whole), uint64(whole) * c.cost.ObjectBytes, uint64(math.Round(n * c.cost.PageBytes))
}

// row is one row of the account while its objects are added up.
type row struct {
	count   int
	buffers buffers
	queued  queued
	objects map[cell]float64
}

func newRow() *row { return &row{objects: map[cell]float64{}} }

func (r *row) addTally(t *tally, caches *Caches) {
	r.count += t.count
	r.buffers.rx += t.buffers.rx
	r.buffers.tx += t.buffers.tx
	r.buffers.option += t.buffers.option
	if t.queued != nil {
		r.queued.join(t.queued)
	}
	for kind := range t.objects {
		r.add(kernel.ObjectType(kind), t.costs[kind], float64(t.objects[kind])+t.split[kind], caches)
	}
}

// add enters n objects, and with them their share of the vectors that their slabs carry.
func (r *row) add(kind kernel.ObjectType, cost ObjectCost, n float64, caches *Caches) {
	if n == 0 {
		return
	}
	r.objects[cell{kind, cost}] += n
	if vector, share := caches.vectorShare(cost); share > 0 {
		r.objects[cell{kernel.SlabObjExt, vector}] += n * share
	}
}

// rows adds up the tallies by role and state.
func (ts *tallies) rows(caches *Caches) map[rowKey]*row {
	rows := map[rowKey]*row{}
	for _, t := range ts.sorted(nil) {
		r := rows[t.key.rowKey]
		if r == nil {
			r = newRow()
			rows[t.key.rowKey] = r
		}
		r.addTally(t, caches)
	}
	return rows
}

// endpointRows is the account itself.
func endpointRows(rows map[rowKey]*row) []recording.EndpointRow {
	list := []recording.EndpointRow{}
	for key, r := range rows {
		list = append(list, r.endpointRow(key))
	}
	order := [...]int{kernel.RoleClient: 0, kernel.RoleServer: 1, kernel.RoleListener: 2, kernel.RoleUnknown: 3}
	slices.SortFunc(list, func(a, b recording.EndpointRow) int {
		return cmp.Or(cmp.Compare(order[a.Role], order[b.Role]), cmp.Compare(b.Count, a.Count), cmp.Compare(a.State, b.State))
	})
	return list
}

func (r *row) endpointRow(key rowKey) recording.EndpointRow {
	out := recording.EndpointRow{Role: key.role, State: key.state.String(), Count: r.count, BufferBytes: r.buffers.sum(),
		Objects: []recording.ObjectRow{}}
	for c, n := range r.objects {
		o := recording.ObjectRow{Type: c.kind.String(), Cache: c.cost.Cache}
		o.Count, o.ObjectBytes, o.PageBytes = c.totals(n)
		if o.Count == 0 && o.PageBytes == 0 {
			continue
		}
		out.ObjectBytes += o.ObjectBytes
		out.PageBytes += o.PageBytes
		out.Objects = append(out.Objects, o)
	}
	slices.SortFunc(out.Objects, func(a, b recording.ObjectRow) int {
		return cmp.Or(cmp.Compare(b.PageBytes, a.PageBytes), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Cache, b.Cache))
	})
	return out
}

// addressRows says where each address is if there are several network namespaces.
func (w *walked) addressRows() []recording.AddressRow {
	type place struct {
		addressKey
		netns uint32
	}
	counts := map[place]int{}
	for netns, s := range w.spaces {
		for k, n := range s.addresses {
			counts[place{k, netns}] = *n
		}
	}
	places := slices.SortedFunc(maps.Keys(counts), func(a, b place) int {
		return cmp.Or(strings.Compare(a.role.String(), b.role.String()), a.address.Compare(b.address),
			cmp.Compare(a.netns, b.netns))
	})
	rows := []recording.AddressRow{}
	for _, p := range places {
		row := recording.AddressRow{Address: p.address.String(), Role: p.role, Count: counts[p]}
		if w.several() {
			row.Netns = p.netns
		}
		rows = append(rows, row)
	}
	return rows
}
