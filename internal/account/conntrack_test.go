package account

import (
	"bytes"
	"encoding/csv"
	"strconv"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// trackingCaches are those of a kernel with connection tracking, half of whose entries have extensions.
func trackingCaches() (*Caches, []kernel.Site, *kernel.Symbols) {
	const entry, extension = 0xffffffffc0000000, 0xffffffffc0000100
	symbols, err := kernel.ParseSymbols(bytes.NewReader([]byte("ffffffffc0000000 t __nf_conntrack_alloc\nffffffffc0000100 t nf_ct_ext_add\n" +
		"ffffffffc0000200 t after\n")))
	if err != nil {
		panic(err)
	}
	slabs, infos := testSlabs(), testInfos()
	slabs["nf_conntrack"] = kernel.Slab{Name: "nf_conntrack", ObjectBytes: 256, ObjectsPerSlab: 16, PagesPerSlab: 1}
	infos[0xffff888100009900] = kernel.CacheInfo{Name: "nf_conntrack"}
	sites := []kernel.Site{{CallSite: entry + 16, Cache: 0xffff888100009900, Count: 10, Role: kernel.RoleClient},
		{CallSite: entry + 16, Cache: 0xffff888100009900, Count: 7, Free: true},
		{CallSite: extension + 16, Cache: 128, Kmalloc: true, Sized: true, Count: 5, Role: kernel.RoleClient}}
	return NewCaches(slabs, testAliases(), infos, sites, symbols), sites, symbols
}

func objectIn(t *testing.T, rows []recording.EndpointRow, role kernel.Role, kind kernel.ObjectType) recording.ObjectRow {
	t.Helper()
	for _, r := range rows {
		for _, o := range r.Objects {
			if r.Role == role && o.Type == kind.String() {
				return o
			}
		}
	}
	return recording.ObjectRow{}
}

func TestBothEndsShareAnEntryOfConnectionTracking(t *testing.T) {
	c, sites, symbols := trackingCaches()
	const conns = 20
	var endpoints []*kernel.Endpoint
	for i := range conns {
		endpoints = append(endpoints, client(i+1), server(i+1))
	}
	endpoints = append(endpoints, listener())
	ev := evidence(c, sites...)
	ev.Symbols, ev.Tracked = symbols, conns
	ev.Before.Slabs, ev.After.Slabs = c.slabs, c.slabs
	r := &recording.Machine{}
	visited(c, endpoints...).Fill(r, ev)
	for _, role := range []kernel.Role{kernel.RoleClient, kernel.RoleServer} {
		if o := objectIn(t, r.Endpoints, role, kernel.NFConn); o != objectRow("nf_conn", "nf_conntrack", conns/2, conns/2*256, conns/2*page/16) {
			t.Errorf("%s: %+v", role, o)
		}
		if o := objectIn(t, r.Endpoints, role, kernel.NFConnExt); o.Count != conns/4 || o.Cache != "kmalloc-128" {
			t.Errorf("%s: %+v", role, o)
		}
	}
	if o := objectIn(t, r.Endpoints, kernel.RoleListener, kernel.NFConn); o.Count != 0 {
		t.Errorf("a listener has %+v", o)
	}
	held := int64(0)
	for _, row := range r.Reconcile.Caches {
		if row.Cache == "nf_conntrack" {
			held = row.AccountedObjects
		}
	}
	if held != conns {
		t.Errorf("%d entries are held against slab memory, want %d", held, conns)
	}
}

func TestWhatIsInTimeWaitHasAnEntryOfItsOwn(t *testing.T) {
	c, sites, symbols := trackingCaches()
	ev := evidence(c, sites...)
	ev.Symbols, ev.Tracked = symbols, 2
	r := &recording.Machine{}
	visited(c, timeWaiting(1), timeWaiting(2), listener()).Fill(r, ev)
	n := 0
	for _, row := range r.Endpoints {
		for _, o := range row.Objects {
			if o.Type == "nf_conn" {
				n += o.Count
			}
		}
	}
	if n != 2 {
		t.Errorf("%d entries in %+v, want 2", n, r.Endpoints)
	}
}

// The rows of the endpoints' CSV add up to the account.
func TestTheListHasEachEndsShareOfAnEntry(t *testing.T) {
	c, sites, symbols := trackingCaches()
	var out bytes.Buffer
	l := NewEndpointList(&out, NewLedger(0), c, Processes{})
	l.Track(1, sites, symbols)
	endpoints := []*kernel.Endpoint{client(1), server(1), listener()}
	for _, visit := range []func(*kernel.Endpoint) error{l.Count, l.Visit} {
		for _, e := range endpoints {
			if err := visit(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	sum := map[string]float64{}
	for _, row := range rows[1:] {
		for i, name := range rows[0] {
			if n, err := strconv.ParseFloat(row[i], 64); err == nil {
				sum[name] += n
			}
		}
	}
	if entry, extension := float64(page)/16, float64(page)/32/2; sum["nf_conn"] != entry || sum["nf_ct_ext"] != extension {
		t.Errorf("%g and %g bytes, want %g and %g", sum["nf_conn"], sum["nf_ct_ext"], entry, extension)
	}
}

// The client's connect() allocates the entry. Its path is that of both halves.
func TestThePathOfAnEntryIsThatOfBothEnds(t *testing.T) {
	c, sites, symbols := trackingCaches()
	l := visited(c, client(1), server(1))
	l.Sampled(kernel.StackSample{CallSite: sites[0].CallSite, Cache: sites[0].Cache, Weight: 1, Role: kernel.RoleClient,
		Frames: []uint64{sites[0].CallSite}})
	ev := evidence(c, sites...)
	ev.Symbols, ev.Tracked = symbols, 1
	r := &recording.Machine{}
	l.Fill(r, ev)
	ends := map[kernel.Role]uint64{}
	for _, s := range r.Stacks {
		if s.Type == "nf_conn" && s.Frames[0] == "__nf_conntrack_alloc" {
			ends[s.Role] += s.Bytes
		}
	}
	if half := page / 32; ends[kernel.RoleClient] != half || ends[kernel.RoleServer] != half {
		t.Errorf("%v, want %d bytes each, in %+v", ends, half, r.Stacks)
	}
}
