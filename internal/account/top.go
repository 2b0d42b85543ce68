package account

import (
	"cmp"
	"container/heap"
	"math"
	"net/netip"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

const topEndpoints = 100

// rank keeps the endpoint if it is among the costliest so far.
func (w *walked) rank(e *kernel.Endpoint, of *tally, pid uint32) {
	h := &w.top
	object, page := of.bytesOf(e)
	buffers := e.Buffers.Bytes()
	at := rank{weight: page + buffers, role: of.key.role, local: e.Local, remote: e.Remote, netns: e.Netns, sock: e.Sock}
	if len(*h) == topEndpoints && at.compare(&(*h)[0].rank) >= 0 {
		return
	}
	r := ranked{rank: at}
	r.endpoint = recording.TopEndpoint{Role: of.key.role, State: e.State.String(),
		Local: e.Local.String(), Remote: e.Remote.String(), Netns: e.Netns, PID: int(pid),
		Objects: map[string]int{}, ObjectBytes: object, PageBytes: page, BufferBytes: buffers}
	if owners := w.groups.by.Owners; owners != nil {
		kind, owner := ownerOf(owners, e)
		r.endpoint.Owner = kind
		if owner != nil {
			r.endpoint.PID, r.endpoint.Comm, r.endpoint.Container = owner.pid(), owner.Comm, owner.Container
		}
	}
	if w.groups.by.Live {
		r.endpoint.Idle, r.endpoint.Age = secondsOf(e.Live.Idle), secondsOf(e.Live.Age)
		r.endpoint.UnreadBytes, r.endpoint.UnackedBytes = uint64(e.UnreadData()), uint64(e.Live.Unacked)
		r.endpoint.RxBytes, r.endpoint.TxBytes = uint64(e.Buffers.Rmem)+uint64(e.Buffers.Backlog), uint64(e.Buffers.Wmem)
	}
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

// rankedKey is a group by its number, in one role and state.
type rankedKey struct {
	rowKey
	group uint32
}

// ranks tells whether the endpoints of a group are asked for one by one.
func (w *walked) ranks(key rowKey, group uint32) bool {
	g := &w.groups
	if g.by.Ranks == nil || g.ids == nil {
		return true
	}
	at := rankedKey{key, group}
	asked, known := g.ranked[at]
	if !known {
		row := partKey{key, g.keys[group]}.describe()
		asked = g.by.Ranks(&row)
		if g.ranked == nil {
			g.ranked = map[rankedKey]bool{}
		}
		g.ranked[at] = asked
	}
	return asked
}

// PageBytes is the slab pages that one endpoint's objects occupy, a shared bind bucket counted whole.
func (l *Ledger) PageBytes(e *kernel.Endpoint, caches *Caches) uint64 {
	_, page := endpointBytes(e, costsOf(e, caches))
	return page
}

// endpointBytes is what one endpoint's objects occupy, a shared bind bucket counted whole.
func endpointBytes(e *kernel.Endpoint, costs *costs) (object, page uint64) {
	var pages float64
	for kind, n := range e.Objects {
		if n > 0 {
			object += uint64(n) * costs[kind].ObjectBytes
			pages += float64(n) * costs[kind].withVector
		}
	}
	return object, uint64(math.Round(pages))
}

// rank is what decides on an endpoint's place.
type rank struct {
	weight        uint64
	role          kernel.Role
	local, remote netip.AddrPort
	netns         uint32
	sock          uint64
}

type ranked struct {
	rank
	endpoint recording.TopEndpoint
}

// compare puts the costlier first. Equals go by their four-tuples, and where those are the same, in two network namespaces
// or of two listeners, by what else is their own, so that which of them are kept does not depend on the order of the walk.
func (a *rank) compare(b *rank) int {
	if a.weight != b.weight {
		return cmp.Compare(b.weight, a.weight)
	}
	if a.role != b.role {
		return cmp.Compare(a.role, b.role)
	}
	return cmp.Or(a.local.Compare(b.local), a.remote.Compare(b.remote), cmp.Compare(a.netns, b.netns),
		cmp.Compare(a.sock, b.sock))
}

// topHeap has the cheapest of the costliest endpoints on top.
type topHeap []ranked

func (h topHeap) Len() int           { return len(h) }
func (h topHeap) Less(i, j int) bool { return h[i].compare(&h[j].rank) > 0 }
func (h topHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *topHeap) Push(x any)        { *h = append(*h, x.(ranked)) }
func (h *topHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// list says of each endpoint where it is if there are several network namespaces.
func (h topHeap) list(several bool) []recording.TopEndpoint {
	ranks := slices.Clone(h)
	slices.SortFunc(ranks, func(a, b ranked) int { return a.compare(&b.rank) })
	list := []recording.TopEndpoint{}
	for _, r := range ranks {
		if !several {
			r.endpoint.Netns = 0
		}
		list = append(list, r.endpoint)
	}
	return list
}
