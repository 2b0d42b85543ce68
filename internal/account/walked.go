package account

import (
	"cmp"
	"container/heap"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
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
}

// tally sums endpoints of one kind. Objects are counted by type alone: the costs follow from the key.
type tally struct {
	key         tallyKey
	costs       [kernel.NumObjectTypes]ObjectCost
	count       int
	bufferBytes uint64
	objects     [kernel.NumObjectTypes]uint64
	split       [kernel.NumObjectTypes]float64 // shares of buckets used by several sockets
}

// bucket is a bind bucket that several sockets use.
type bucket struct {
	kind    kernel.ObjectType
	address uint64
}

// owners is how many sockets of one tally use a bucket.
type owners struct {
	tally *tally
	count int
}

type addressKey struct {
	address netip.Addr
	role    kernel.Role
}

// walked sums the endpoints of a walk.
type walked struct {
	listening listening
	tallies   map[tallyKey]*tally
	shared    map[bucket][]owners
	addresses map[addressKey]int
	top       topHeap
	ports     portCounts
	skipped   uint64
	unclaimed uint64
}

func newWalked() walked {
	return walked{listening: listening{}, tallies: map[tallyKey]*tally{}, shared: map[bucket][]owners{},
		addresses: map[addressKey]int{}}
}

// listening is the addresses and ports with a listener, IPv4 ones never as IPv6; true where it also takes IPv4.
type listening map[netip.AddrPort]bool

func (l listening) add(e *kernel.Endpoint) {
	at := unmapped(e.Local)
	l[at] = l[at] || at.Addr() == netip.IPv6Unspecified() && !e.V6Only
}

// takes tells whether some listener is the parent of what is accepted at the address and port.
func (l listening) takes(at netip.AddrPort) bool {
	at = unmapped(at)
	if _, ok := l[at]; ok {
		return true
	}
	both, any6 := l[netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())]
	if !at.Addr().Is4() {
		return any6
	}
	_, any4 := l[netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())]
	return any4 || both
}

func unmapped(at netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// Role is which end an endpoint is: as the trace saw it opened, else a server where a listener takes connections at its
// address and port. Listeners come first in a walk.
func (l *Ledger) Role(e *kernel.Endpoint) kernel.Role {
	o, _ := l.endpoint(e.Sock)
	return l.roleOf(e, o)
}

func (l *Ledger) roleOf(e *kernel.Endpoint, o opened) kernel.Role {
	if e.State == kernel.StateListen {
		return kernel.RoleListener
	}
	if o.role != kernel.RoleUnknown {
		return o.role
	}
	if l.walk.listening.takes(e.Local) {
		return kernel.RoleServer
	}
	return kernel.RoleClient
}

// Visit enters a walked endpoint.
func (l *Ledger) Visit(e *kernel.Endpoint, caches *Caches) kernel.Role {
	w := &l.walk
	o, traced := l.endpoint(e.Sock)
	role := l.roleOf(e, o)
	if role == kernel.RoleListener {
		w.listening.add(e)
	}
	if traced && role == kernel.RoleServer && o.pid == 0 && e.Objects[kernel.SocketAlloc] > 0 {
		w.unclaimed++
	}
	t := w.tallyOf(tallyKey{rowKey{role, e.State}, e.Local.Addr().Is6(), e.Cache, e.SKBHeadBytes}, e, caches)
	t.count++
	t.bufferBytes += e.Buffers.Bytes()
	if role == kernel.RoleClient {
		w.ports.add(e)
	}
	w.addresses[addressKey{e.Local.Addr(), role}]++
	objects := 0
	for kind, n := range e.Objects {
		t.objects[kind] += uint64(n)
		objects += int(n)
	}
	if e.Objects[kernel.BindBucket] > 0 && !e.BindSole {
		w.share(bucket{kernel.BindBucket, e.Bind}, t)
	}
	if e.Objects[kernel.Bind2Bucket] > 0 && !e.Bind2Sole {
		w.share(bucket{kernel.Bind2Bucket, e.Bind2}, t)
	}
	if objects == 0 || e.Truncated {
		w.skipped++
	}
	l.rank(e, t)
	return role
}

func (w *walked) tallyOf(key tallyKey, e *kernel.Endpoint, caches *Caches) *tally {
	t := w.tallies[key]
	if t == nil {
		t = &tally{key: key}
		for kind := range t.costs {
			t.costs[kind] = caches.Of(kernel.ObjectType(kind), e)
		}
		w.tallies[key] = t
	}
	return t
}

// share takes a bucket out of the tally's own objects until it is known how many use it.
func (w *walked) share(b bucket, t *tally) {
	t.objects[b.kind]--
	list := w.shared[b]
	for i := range list {
		if list[i].tally == t {
			list[i].count++
			return
		}
	}
	w.shared[b] = append(list, owners{t, 1})
}

// divide gives every shared bucket to the tallies of its owners, in proportion. It goes by address: sums of fractions
// depend on their order.
func (w *walked) divide() {
	buckets := slices.SortedFunc(maps.Keys(w.shared), func(a, b bucket) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.address, b.address))
	})
	for _, b := range buckets {
		list := w.shared[b]
		total := 0
		for _, o := range list {
			total += o.count
		}
		for _, o := range list {
			o.tally.split[b.kind] += float64(o.count) / float64(total)
		}
	}
	clear(w.shared)
}

// Skipped is how many endpoints the walk met but could not follow to the end.
func (l *Ledger) Skipped() uint64 { return l.walk.skipped }

// Unclaimed is how many endpoints whose handshake was traced have been accepted by nobody knows whom.
func (l *Ledger) Unclaimed() uint64 { return l.walk.unclaimed }

// Count is how many endpoints of a role are in a state.
func (l *Ledger) Count(role kernel.Role, state kernel.State) int {
	n := 0
	for key, t := range l.walk.tallies {
		if key.rowKey == (rowKey{role, state}) {
			n += t.count
		}
	}
	return n
}

// cell sums the objects of one type in one cache within a row.
type cell struct {
	kind kernel.ObjectType
	cost ObjectCost
}

// row is one row of the account while its objects are added up.
type row struct {
	count       int
	bufferBytes uint64
	objects     map[cell]float64
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

// rows adds up the tallies.
func (w *walked) rows(caches *Caches) map[rowKey]*row {
	w.divide()
	rows := map[rowKey]*row{}
	for _, key := range w.sortedTallies() { // see divide
		t := w.tallies[key]
		r := rows[key.rowKey]
		if r == nil {
			r = &row{objects: map[cell]float64{}}
			rows[key.rowKey] = r
		}
		r.count += t.count
		r.bufferBytes += t.bufferBytes
		for kind := range t.objects {
			r.add(kernel.ObjectType(kind), t.costs[kind], float64(t.objects[kind])+t.split[kind], caches)
		}
	}
	return rows
}

func (w *walked) sortedTallies() []tallyKey {
	return slices.SortedFunc(maps.Keys(w.tallies), func(a, b tallyKey) int {
		if a.v6 != b.v6 {
			if a.v6 {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.role, b.role), cmp.Compare(a.state, b.state), cmp.Compare(a.cache, b.cache),
			cmp.Compare(a.head, b.head))
	})
}

// endpointRows is the account itself.
func (w *walked) endpointRows(caches *Caches) []recording.EndpointRow {
	rows := []recording.EndpointRow{}
	for key, r := range w.rows(caches) {
		rows = append(rows, r.endpointRow(key))
	}
	order := [...]int{kernel.RoleClient: 0, kernel.RoleServer: 1, kernel.RoleListener: 2, kernel.RoleUnknown: 3}
	slices.SortFunc(rows, func(a, b recording.EndpointRow) int {
		return cmp.Or(cmp.Compare(order[a.Role], order[b.Role]), cmp.Compare(b.Count, a.Count), cmp.Compare(a.State, b.State))
	})
	return rows
}

func (r *row) endpointRow(key rowKey) recording.EndpointRow {
	out := recording.EndpointRow{Role: key.role, State: key.state.String(), Count: r.count, BufferBytes: r.bufferBytes,
		Objects: []recording.ObjectRow{}}
	for c, n := range r.objects {
		o := recording.ObjectRow{Type: c.kind.String(), Cache: c.cost.Cache, Count: int(math.Round(n)),
			ObjectBytes: uint64(math.Round(n)) * c.cost.ObjectBytes, PageBytes: uint64(math.Round(n * c.cost.PageBytes))}
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

func (w *walked) addressRows() []recording.AddressRow {
	rows := []recording.AddressRow{}
	for k, n := range w.addresses {
		rows = append(rows, recording.AddressRow{Address: k.address.String(), Role: k.role, Count: n})
	}
	slices.SortFunc(rows, func(a, b recording.AddressRow) int {
		return cmp.Or(strings.Compare(a.Role.String(), b.Role.String()),
			netip.MustParseAddr(a.Address).Compare(netip.MustParseAddr(b.Address)))
	})
	return rows
}

const topEndpoints = 100

// rank keeps the endpoint if it is among the costliest so far.
func (l *Ledger) rank(e *kernel.Endpoint, of *tally) {
	h := &l.walk.top
	object, page := endpointBytes(e, &of.costs)
	buffers := e.Buffers.Bytes()
	r := ranked{weight: page + buffers, role: of.key.role, local: e.Local, remote: e.Remote}
	if len(*h) == topEndpoints && r.compare(&(*h)[0]) >= 0 {
		return
	}
	r.endpoint = recording.TopEndpoint{Role: of.key.role, State: e.State.String(),
		Local: e.Local.String(), Remote: e.Remote.String(), PID: int(l.opened[e.Sock].pid), Objects: map[string]int{},
		ObjectBytes: object, PageBytes: page, BufferBytes: buffers}
	for k, n := range e.Objects {
		if n > 0 {
			r.endpoint.Objects[kernel.ObjectType(k).String()] = int(n)
		}
	}
	if len(*h) == topEndpoints {
		heap.Pop(h)
	}
	heap.Push(h, r)
}

// endpointBytes is what one endpoint's objects occupy, a shared bind bucket counted whole.
func endpointBytes(e *kernel.Endpoint, costs *[kernel.NumObjectTypes]ObjectCost) (object, page uint64) {
	var pages float64
	for kind, n := range e.Objects {
		if n > 0 {
			object += uint64(n) * costs[kind].ObjectBytes
			pages += float64(n) * costs[kind].withVector
		}
	}
	return object, uint64(math.Round(pages))
}

type ranked struct {
	weight        uint64
	role          kernel.Role
	local, remote netip.AddrPort
	endpoint      recording.TopEndpoint
}

// compare puts the costlier first. Equals follow from their four-tuples, so that which of them are kept does not
// depend on the order of the walk.
func (a *ranked) compare(b *ranked) int {
	if a.weight != b.weight {
		return cmp.Compare(b.weight, a.weight)
	}
	if a.role != b.role {
		return cmp.Compare(a.role, b.role)
	}
	return cmp.Or(a.local.Compare(b.local), a.remote.Compare(b.remote))
}

// topHeap has the cheapest of the costliest endpoints on top.
type topHeap []ranked

func (h topHeap) Len() int           { return len(h) }
func (h topHeap) Less(i, j int) bool { return h[i].compare(&h[j]) > 0 }
func (h topHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *topHeap) Push(x any)        { *h = append(*h, x.(ranked)) }
func (h *topHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func (h topHeap) list() []recording.TopEndpoint {
	ranks := slices.Clone(h)
	slices.SortFunc(ranks, func(a, b ranked) int { return a.compare(&b) })
	list := []recording.TopEndpoint{}
	for _, r := range ranks {
		list = append(list, r.endpoint)
	}
	return list
}
