package account

import (
	"net/netip"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// serviceAt is one of very many.
func serviceAt(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)}), 443)
}

func clientTo(i int) *kernel.Endpoint {
	e := client(i)
	e.Remote = serviceAt(i)
	return e
}

func TestTheCostliestGroupsAreListedAndTheOthersKeepTheirOwner(t *testing.T) {
	w := &world{owners: OwnersByFile{}}
	for i := range 100 {
		owner := nginx
		if i%4 == 0 {
			owner = caddy
		}
		e := w.add(netnsA, owner, clientTo(i), clientAddress(i), serviceAt(i))
		e.Buffers.Wmem = uint32(i) * 1000 // the last cost most
	}
	r := w.walk(Grouping{Owners: w.owners, Service: true, Most: 10})
	checkSums(t, r)
	counts := map[string]int{}
	for _, g := range r.Groups {
		if g.Service == recording.Other {
			counts[g.Comm] += g.Count
			continue
		}
		if g.Count != 1 || g.TxBytes < 90_000 {
			t.Errorf("%s with %d bytes to send is listed", describe(g), g.TxBytes)
		}
	}
	// Of the last ten, 92 and 96 are caddy's.
	if len(r.Groups) != 12 || counts["caddy"] != 23 || counts["nginx"] != 67 {
		t.Errorf("%d groups, %v among others; want 10 and one each for the 23 others of caddy, the 67 of nginx",
			len(r.Groups), counts)
	}
}

func TestOwnersBeyondTheBoundAreOne(t *testing.T) {
	w := &world{owners: OwnersByFile{}}
	for i := range 100 {
		e := w.add(netnsA, &Owner{PIDs: []int{i + 1}}, clientTo(i), clientAddress(i), serviceAt(i))
		e.Buffers.Wmem = uint32(i) * 1000
	}
	r := w.walk(Grouping{Owners: w.owners, Netns: true, Service: true, Most: 10})
	checkSums(t, r)
	last := r.Groups[0] // it has most bytes
	if len(r.Groups) != 21 || last.Count != 80 || last.Owner != recording.OwnerOther || last.PID != 0 || last.Netns != 0 {
		t.Errorf("%d groups, %+v; want 20 and one of the 80 others", len(r.Groups), last)
	}
}

func TestAWalkKeepsABoundedNumberOfGroups(t *testing.T) {
	const bound, more = 3000, 500
	c, l := testCaches(), NewLedger(0)
	owners := OwnersByFile{}
	l.GroupBy(Grouping{Owners: owners, Service: true})
	l.walk.groups.bound = bound
	e := client(1)
	visit := func(i int, owner *Owner) {
		e.Remote, owners[e.File] = serviceAt(i), owner
		l.Visit(e, c)
	}
	for i := range bound + more {
		visit(i, wrk)
	}
	if n := len(l.walk.groups.keys); n != bound+1 { // the services beyond it are one
		t.Errorf("%d services of one owner are kept, want %d", n, bound+1)
	}
	for i := range bound + more {
		visit(0, &Owner{PIDs: []int{i + 1}})
	}
	if n := len(l.walk.groups.keys); n != 2*bound+1 {
		t.Errorf("%d groups are kept, want %d and all others as one", n, 2*bound)
	}
	r := &recording.Machine{}
	l.FillWalk(r, c)
	checkSums(t, r)
	if r.Endpoints[0].Count != 2*(bound+more) {
		t.Errorf("%d endpoints, want all %d", r.Endpoints[0].Count, 2*(bound+more))
	}
}

// Sums of fractions miss their total by a little: the last share is what is left.
func TestSharesAddUpThoughFractionsDoNot(t *testing.T) {
	c := cell{kernel.BindBucket, ObjectCost{ObjectBytes: 128, PageBytes: 4096}}
	with := func(n float64) *row { return &row{objects: map[cell]float64{c: n}} }
	s := &sharing{whole: with(3), given: map[cell]*given{}}
	groups := []*row{with(0.3), with(1.7), with(0.9)}
	for _, r := range groups {
		s.expect(r)
	}
	var object, page uint64
	for _, r := range groups {
		o, p := s.give(r)
		object, page = object+o, page+p
	}
	if object != 3*128 || page != 3*4096 {
		t.Errorf("%d object bytes and %d page bytes are shared out, want %d and %d", object, page, 3*128, 3*4096)
	}
}
