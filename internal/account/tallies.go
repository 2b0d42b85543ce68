package account

import (
	"cmp"
	"maps"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
)

// rowKey is what one row of the account sums up.
type rowKey struct {
	role  kernel.Role
	state kernel.State
}

// tallyKey divides the endpoints so finely that all of one tally have the same costs.
type tallyKey struct {
	rowKey
	v6    bool
	cache uint64 // of the struct sock
	head  uint32 // size of its sk_buffs' heads
	group uint32 // see groups
}

type costs [kernel.NumObjectTypes]ObjectCost

func costsOf(e *kernel.Endpoint, caches *Caches) *costs {
	c := &costs{}
	for kind := range c {
		c[kind] = caches.Of(kernel.ObjectType(kind), e)
	}
	return c
}

// buffers is queued data in bytes; its sum is that of kernel.Buffers.Bytes.
type buffers struct {
	rx, tx, option uint64
}

func (b *buffers) add(k *kernel.Buffers) {
	b.rx += uint64(k.Rmem) + uint64(k.Backlog)
	b.tx += uint64(k.Wmem)
	b.option += uint64(k.Option)
}

func (b buffers) sum() uint64 { return b.rx + b.tx + b.option }

// tally sums endpoints of one kind. Objects are counted by type alone: the costs follow from the key.
type tally struct {
	key     tallyKey
	costs   *costs
	count   int
	buffers buffers
	queued  *queued // nil but in the groups of a look at a running host
	objects [kernel.NumObjectTypes]uint64
	split   [kernel.NumObjectTypes]float64 // shares of buckets used by several sockets
	// The last endpoint's objects and what they occupy: most endpoints of a tally have the same.
	lastObjects          [kernel.NumObjectTypes]uint16
	lastObject, lastPage uint64
}

// bytesOf is what the objects of an endpoint of the tally occupy.
func (t *tally) bytesOf(e *kernel.Endpoint) (object, page uint64) {
	if e.Objects != t.lastObjects {
		t.lastObjects = e.Objects
		t.lastObject, t.lastPage = endpointBytes(e, t.costs)
	}
	return t.lastObject, t.lastPage
}

// bucket is a bind bucket that several sockets use. No two have one address, in whatever network namespace they are.
type bucket struct {
	kind    kernel.ObjectType
	address uint64
}

// users is how many sockets of one tally use a bucket.
type users struct {
	tally *tally
	count int
}

// tallies divides the endpoints of a walk, each of which is in one tally.
type tallies struct {
	byKey map[tallyKey]*tally
	// last is the one that was last asked for, by role: it is often the one that is asked for next.
	last   [kernel.RoleBoth]*tally
	shared map[bucket][]users
}

func newTallies() tallies {
	return tallies{byKey: map[tallyKey]*tally{}, shared: map[bucket][]users{}}
}

func (ts *tallies) of(key tallyKey) *tally {
	if t := ts.last[key.role]; t != nil && t.key == key {
		return t
	}
	t := ts.byKey[key]
	if t == nil {
		t = &tally{key: key}
		ts.byKey[key] = t
	}
	ts.last[key.role] = t
	return t
}

// queue enters what a look at a running host asks of an endpoint.
func (t *tally) queue(e *kernel.Endpoint) {
	if t.queued == nil {
		t.queued = &queued{}
	}
	t.queued.add(e, t.key.role)
}

// enter adds an endpoint to one of the tallies and gives the number of its objects.
func (ts *tallies) enter(t *tally, e *kernel.Endpoint) int {
	t.count++
	t.buffers.add(&e.Buffers)
	objects := 0
	for kind, n := range e.Objects {
		t.objects[kind] += uint64(n)
		objects += int(n)
	}
	buckets, n := sharedBuckets(e)
	for _, b := range buckets[:n] {
		ts.share(b, t)
	}
	return objects
}

// sharedBuckets are the bind buckets of an endpoint that may not be its own.
func sharedBuckets(e *kernel.Endpoint) (list [2]bucket, n int) {
	if e.Objects[kernel.BindBucket] > 0 && !e.BindSole {
		list[n] = bucket{kernel.BindBucket, e.Bind}
		n++
	}
	if e.Objects[kernel.Bind2Bucket] > 0 && !e.Bind2Sole {
		list[n] = bucket{kernel.Bind2Bucket, e.Bind2}
		n++
	}
	return list, n
}

// share takes a bucket out of the tally's own objects until it is known how many use it.
func (ts *tallies) share(b bucket, t *tally) {
	t.objects[b.kind]--
	list := ts.shared[b]
	for i := range list {
		if list[i].tally == t {
			list[i].count++
			return
		}
	}
	ts.shared[b] = append(list, users{t, 1})
}

// divide gives every shared bucket to the tallies of its users, in proportion. It goes by address: sums of fractions
// depend on their order.
func (ts *tallies) divide() {
	buckets := slices.SortedFunc(maps.Keys(ts.shared), func(a, b bucket) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.address, b.address))
	})
	for _, b := range buckets {
		list := ts.shared[b]
		total := 0
		for _, u := range list {
			total += u.count
		}
		for _, u := range list {
			u.tally.split[b.kind] += float64(u.count) / float64(total)
		}
	}
	clear(ts.shared)
}

// sorted divides what is shared and gives all tallies in an order that does not depend on the walk's. Of groups, that is the
// order of their keys.
func (ts *tallies) sorted(groups []groupKey) []*tally {
	ts.divide()
	return slices.SortedFunc(maps.Values(ts.byKey), func(x, y *tally) int {
		a, b := x.key, y.key
		if a.v6 != b.v6 {
			if a.v6 {
				return 1
			}
			return -1
		}
		if c := cmp.Or(cmp.Compare(a.role, b.role), cmp.Compare(a.state, b.state), cmp.Compare(a.cache, b.cache),
			cmp.Compare(a.head, b.head)); c != 0 || a.group == b.group {
			return c
		}
		return groups[a.group].compare(groups[b.group])
	})
}
