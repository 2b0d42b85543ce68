package account

import (
	"maps"
	"math"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Others sums the endpoints of a host that are not measured, as they are at one moment. Where they become more, slab memory grows
// by theirs, too.
type Others struct {
	tallies tallies
	// first is an endpoint of each tally, from which the costs of them all follow. The slab caches are known only later.
	first map[*tally]*kernel.Endpoint
	count int
}

// NewOthers makes an empty sum.
func NewOthers() *Others { return &Others{tallies: newTallies(), first: map[*tally]*kernel.Endpoint{}} }

// Visit enters a walked endpoint. Its role makes no difference to its costs, and is not looked for.
func (o *Others) Visit(e *kernel.Endpoint) {
	key := tallyKey{rowKey: rowKey{kernel.RoleUnknown, e.State}, v6: e.Local.Addr().Is6(), cache: e.Cache, head: e.SKBHeadBytes}
	t := o.tallies.of(key)
	if o.first[t] == nil {
		first := *e
		o.first[t] = &first
	}
	o.tallies.enter(t, e)
	o.count++
}

// inCache is what there is of one slab cache: a number of objects, and their share of its pages in bytes.
type inCache struct {
	objects int64
	pages   float64
}

// byCache divides the endpoints' objects by slab cache.
func (o *Others) byCache(caches *Caches) map[string]inCache {
	for t, e := range o.first {
		t.costs = costsOf(e, caches)
	}
	sums := map[string]inCache{}
	for _, r := range o.tallies.rows(caches) {
		for c, n := range r.objects {
			sum := sums[c.cost.Cache]
			sum.objects += int64(math.Round(n))
			sum.pages += n * c.cost.PageBytes
			sums[c.cost.Cache] = sum
		}
	}
	return sums
}

// grownOthers is by how much the others' objects became more between two moments, by slab cache and in all; found is nil where they
// were not counted.
type grownOthers struct {
	found   *recording.OthersGrown
	byCache map[string]inCache
}

func othersGrown(before, after *Others, caches *Caches) grownOthers {
	if before == nil || after == nil {
		return grownOthers{}
	}
	grown := after.byCache(caches)
	for name, was := range before.byCache(caches) {
		now := grown[name]
		grown[name] = inCache{now.objects - was.objects, now.pages - was.pages}
	}
	pages := 0.0
	for _, name := range slices.Sorted(maps.Keys(grown)) { // a sum of fractions depends on its order
		pages += grown[name].pages
	}
	return grownOthers{&recording.OthersGrown{SocketsBefore: before.count, SocketsAfter: after.count,
		PageBytes: int64(math.Round(pages))}, grown}
}
