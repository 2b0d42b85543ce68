package account

import (
	"cmp"
	"container/heap"
	"math"
	"net/netip"
	"slices"

	"github.com/connprof/connprof/kernel"
)

// rowKey is what one row of the account sums up: a role in a state, with the costs of one slab cache.
type rowKey struct {
	role  kernel.Role
	state kernel.State
}

// cell sums the objects of one type in one cache within a row.
type cell struct {
	kind kernel.ObjectType
	cost ObjectCost
}

// bucket is a bind bucket that several sockets use, and how many of each row do.
type bucket struct {
	kind    kernel.ObjectType
	address uint64
}

type row struct {
	count       int
	bufferBytes uint64
	objects     map[cell]float64
}

// add enters n objects, and with them their share of the vector that their slab carries.
func (r *row) add(kind kernel.ObjectType, cost ObjectCost, n float64, caches *Caches) {
	r.objects[cell{kind, cost}] += n
	if vector, share := caches.vectorShare(cost); share > 0 {
		r.objects[cell{kernel.SlabObjExt, vector}] += n * share
	}
}

type addressKey struct {
	address netip.Addr
	role    kernel.Role
}

// walked sums the endpoints of a walk.
type walked struct {
	listening map[uint16]bool
	rows      map[rowKey]*row
	shared    map[bucket]map[rowKey]int
	addresses map[addressKey]int
	top       topHeap
	skipped   uint64
}

func newWalked() walked {
	return walked{listening: map[uint16]bool{}, rows: map[rowKey]*row{}, shared: map[bucket]map[rowKey]int{},
		addresses: map[addressKey]int{}}
}

// RestartWalk forgets the endpoints walked so far, for a second walk.
func (l *Ledger) RestartWalk() { l.walk = newWalked() }

// Role is which end an endpoint is: as the trace saw it opened, else a server where it has the port of a listener.
// Listeners come first in a walk.
func (l *Ledger) Role(e *kernel.Endpoint) kernel.Role {
	if e.State == kernel.StateListen {
		return kernel.RoleListener
	}
	if o, ok := l.opened[e.Sock]; ok && o.role != kernel.RoleNone {
		return o.role
	}
	if l.walk.listening[e.Local.Port()] {
		return kernel.RoleServer
	}
	return kernel.RoleClient
}

// Visit enters a walked endpoint.
func (l *Ledger) Visit(e *kernel.Endpoint, caches *Caches) kernel.Role {
	w := &l.walk
	role := l.Role(e)
	if role == kernel.RoleListener {
		w.listening[e.Local.Port()] = true
	}
	key := rowKey{role, e.State}
	r := w.rows[key]
	if r == nil {
		r = &row{objects: map[cell]float64{}}
		w.rows[key] = r
	}
	r.count++
	r.bufferBytes += e.Buffers.Bytes()
	w.addresses[addressKey{e.Local.Addr(), role}]++
	objects := 0
	for t, n := range e.Objects {
		if n == 0 {
			continue
		}
		objects++
		kind := kernel.ObjectType(t)
		if address, shared := sharedBucket(kind, e); shared {
			w.addOwner(bucket{kind, address}, key)
			continue
		}
		r.add(kind, caches.Of(kind, e), float64(n), caches)
	}
	if objects == 0 || e.Truncated {
		w.skipped++
	}
	l.rank(e, role, caches)
	return role
}

func sharedBucket(t kernel.ObjectType, e *kernel.Endpoint) (address uint64, shared bool) {
	switch t {
	case kernel.BindBucket:
		return e.Bind, !e.BindSole
	case kernel.Bind2Bucket:
		return e.Bind2, !e.Bind2Sole
	}
	return 0, false
}

func (w *walked) addOwner(b bucket, key rowKey) {
	owners := w.shared[b]
	if owners == nil {
		owners = map[rowKey]int{}
		w.shared[b] = owners
	}
	owners[key]++
}

// split gives every shared bucket to the rows of its owners, in proportion.
func (w *walked) split(caches *Caches) {
	for b, owners := range w.shared {
		total := 0
		for _, n := range owners {
			total += n
		}
		for key, n := range owners {
			w.rows[key].add(b.kind, caches.byType[b.kind], float64(n)/float64(total), caches)
		}
	}
	clear(w.shared)
}

// Skipped is how many endpoints the walk met but could not follow to the end.
func (l *Ledger) Skipped() uint64 { return l.walk.skipped }

// Count is how many endpoints of a role are in a state.
func (l *Ledger) Count(role kernel.Role, state kernel.State) int {
	if r := l.walk.rows[rowKey{role, state}]; r != nil {
		return r.count
	}
	return 0
}

// endpointRows is the account itself.
func (w *walked) endpointRows() []EndpointRow {
	rows := []EndpointRow{}
	for key, r := range w.rows {
		out := EndpointRow{Role: key.role.String(), State: key.state.String(), Count: r.count,
			BufferBytes: r.bufferBytes, Objects: []ObjectRow{}}
		for c, n := range r.objects {
			o := ObjectRow{Type: c.kind.String(), Cache: c.cost.Cache, Count: int(math.Round(n)),
				ObjectBytes: uint64(math.Round(n * float64(c.cost.ObjectBytes))),
				PageBytes:   uint64(math.Round(n * c.cost.PageBytes))}
			out.ObjectBytes += o.ObjectBytes
			out.PageBytes += o.PageBytes
			out.Objects = append(out.Objects, o)
		}
		slices.SortFunc(out.Objects, func(a, b ObjectRow) int {
			return cmp.Or(cmp.Compare(b.PageBytes, a.PageBytes), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Cache, b.Cache))
		})
		rows = append(rows, out)
	}
	order := map[string]int{"client": 0, "server": 1, "listener": 2, "other": 3}
	slices.SortFunc(rows, func(a, b EndpointRow) int {
		return cmp.Or(cmp.Compare(order[a.Role], order[b.Role]), cmp.Compare(b.Count, a.Count), cmp.Compare(a.State, b.State))
	})
	return rows
}

func (w *walked) addressRows() []AddressRow {
	rows := []AddressRow{}
	for k, n := range w.addresses {
		rows = append(rows, AddressRow{Address: k.address.String(), Role: k.role.String(), Count: n})
	}
	slices.SortFunc(rows, func(a, b AddressRow) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role),
			netip.MustParseAddr(a.Address).Compare(netip.MustParseAddr(b.Address)))
	})
	return rows
}

const topEndpoints = 100

// rank keeps the endpoint if it is among the costliest so far. Of equals the ones met first stay.
func (l *Ledger) rank(e *kernel.Endpoint, role kernel.Role, caches *Caches) {
	h := &l.walk.top
	object, page := EndpointBytes(e, caches)
	buffers := e.Buffers.Bytes()
	if len(*h) == topEndpoints && page+buffers <= (*h)[0].weight {
		return
	}
	t := TopEndpoint{Role: role.String(), State: e.State.String(), Local: e.Local.String(), Remote: e.Remote.String(),
		PID: int(l.opened[e.Sock].pid), Objects: map[string]int{}, ObjectBytes: object, PageBytes: page, BufferBytes: buffers}
	for k, n := range e.Objects {
		if n > 0 {
			t.Objects[kernel.ObjectType(k).String()] = int(n)
		}
	}
	if len(*h) == topEndpoints {
		heap.Pop(h)
	}
	heap.Push(h, ranked{page + buffers, t})
}

// EndpointBytes is what one endpoint's objects occupy, a shared bind bucket counted whole.
func EndpointBytes(e *kernel.Endpoint, caches *Caches) (object, page uint64) {
	var pages float64
	for t, n := range e.Objects {
		if n > 0 {
			cost := caches.Of(kernel.ObjectType(t), e)
			object += uint64(n) * cost.ObjectBytes
			vector, share := caches.vectorShare(cost)
			pages += float64(n) * (cost.PageBytes + share*vector.PageBytes)
		}
	}
	return object, uint64(math.Round(pages))
}

type ranked struct {
	weight   uint64
	endpoint TopEndpoint
}

// topHeap has the cheapest of the costliest endpoints on top.
type topHeap []ranked

func (h topHeap) Len() int           { return len(h) }
func (h topHeap) Less(i, j int) bool { return h[i].weight < h[j].weight }
func (h topHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *topHeap) Push(x any)        { *h = append(*h, x.(ranked)) }
func (h *topHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func (h topHeap) list() []TopEndpoint {
	ranks := slices.Clone(h)
	slices.SortFunc(ranks, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.endpoint.Role, b.endpoint.Role),
			cmp.Compare(a.endpoint.Local, b.endpoint.Local), cmp.Compare(a.endpoint.Remote, b.endpoint.Remote))
	})
	list := []TopEndpoint{}
	for _, r := range ranks {
		list = append(list, r.endpoint)
	}
	return list
}
