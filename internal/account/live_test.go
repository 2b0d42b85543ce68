package account

import (
	"encoding/csv"
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func TestTheMedianOfIdleTimesIsWithinAnEighth(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, spread := range []int64{1, 10, 100_000, 1_000_000_000} {
		var times idleTimes
		var all []float64
		for range 999 {
			d := time.Duration(random.Int64N(spread)) * time.Millisecond
			times.add(d)
			all = append(all, d.Seconds())
		}
		slices.Sort(all)
		got, want := times.spread(), recording.Spread{P50: all[499], Max: all[998]}
		if got.Max != want.Max || got.P50 < want.P50*7/8-0.001 || got.P50 > want.P50*9/8+0.001 {
			t.Errorf("times up to %d ms: %+v, want %+v", spread, *got, want)
		}
	}
}

func TestTimesThatAreNotKnownAreNoIdleTimes(t *testing.T) {
	var times idleTimes
	times.add(-1)
	if got := times.spread(); got != nil {
		t.Errorf("%+v, want nothing", *got)
	}
	times.add(49 * 24 * time.Hour) // what 32 bits of milliseconds hold
	if got, want := times.spread().Max, (49 * 24 * time.Hour).Seconds(); got != want {
		t.Errorf("the longest is %v s, want %v", got, want)
	}
}

// lookAt walks a world by owner, with what a look at a running host asks.
func (w *world) lookAt(t *testing.T, g Grouping) *recording.Machine {
	t.Helper()
	g.Live, g.Netns = true, true
	if g.Owners == nil {
		g.Owners = w.owners
	}
	l := NewLedger(0)
	l.GroupBy(g)
	for _, e := range slices.Concat(w.listeners, w.endpoints) {
		l.Visit(e, testCaches())
	}
	m := &recording.Machine{}
	l.FillWalk(m, testCaches())
	return m
}

func TestGroupsSumUpWhatTheirQueuesHold(t *testing.T) {
	w := &world{owners: OwnersByFile{}}
	for i := range 3 {
		e := w.add(netnsA, nginx, server(i), containerAddress, from(i))
		e.Live = kernel.Live{Unread: uint32(100 * i), Unacked: 7, PageCache: 5, Idle: time.Duration(i) * time.Second}
	}
	e := w.add(netnsA, caddy, server(9), containerAddress, from(9))
	e.Live = kernel.Live{Idle: -1}
	found := map[string]recording.Group{}
	for _, g := range w.lookAt(t, Grouping{}).Groups {
		found[g.Comm] = g
	}
	g := found["nginx"]
	if g.UnreadBytes != 300 || g.UnreadSockets != 2 || g.UnackedBytes != 21 || g.UnackedSockets != 3 || g.PageCacheBytes != 15 {
		t.Errorf("nginx: %+v", g)
	}
	if g.Idle == nil || g.Idle.Max != 2 || g.Idle.P50 < 0.8 || g.Idle.P50 > 1.2 {
		t.Errorf("nginx has been idle for %+v, want a median of 1 s and 2 s at most", g.Idle)
	}
	if g := found["caddy"]; g.Idle != nil || g.UnreadSockets != 0 {
		t.Errorf("caddy: %+v", g)
	}
}

func TestPeersAreAddressesWithoutPorts(t *testing.T) {
	w := &world{owners: OwnersByFile{}}
	w.add(netnsA, nginx, listener(), containerAddress, none)
	for i := range 5 {
		w.add(netnsA, nginx, server(i), containerAddress, from(i))
	}
	var got []string
	for _, g := range w.lookAt(t, Grouping{Peer: true}).Groups {
		got = append(got, g.Role.String()+" "+g.Peer+g.Listener)
	}
	slices.Sort(got)
	if want := []string{"listener ", "server 172.17.0.1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("groups %q, want %q", got, want)
	}
}

// placed is owners that know cgroups as well.
type placed struct {
	OwnersByFile
	places map[uint64]*Owner
}

func (p placed) Place(cgroup uint64) *Owner { return p.places[cgroup] }

func TestWhatHasNoProcessHasACgroup(t *testing.T) {
	w := &world{owners: OwnersByFile{}}
	orphan := w.add(netnsA, nil, server(1), containerAddress, from(1))
	orphan.Dead, orphan.File = true, 0
	orphan.Live.Cgroup = 77
	owners := placed{w.owners, map[uint64]*Owner{77: {Cgroup: "/docker/a", Container: "a"}}}
	groups := w.lookAt(t, Grouping{Owners: owners}).Groups
	if len(groups) != 1 || groups[0].Owner != recording.OwnerOrphan || groups[0].Container != "a" || groups[0].PID != 0 {
		t.Errorf("groups %+v, want one orphan of container a", groups)
	}
}

func TestWhatIsPassedCountsInTheBooksAlone(t *testing.T) {
	l := NewLedger(0)
	l.GroupBy(Grouping{Netns: true})
	l.Pass(listener())
	l.Pass(server(1))
	l.Visit(server(2), testCaches())
	m := &recording.Machine{}
	l.FillWalk(m, testCaches())
	l.FillBooks(m, HostBooks{Sockets: 3})
	if m.Books.Sockets.Walked != 3 || m.Books.Sockets.Unreachable != 0 {
		t.Errorf("books %+v, want all three", m.Books.Sockets)
	}
	if len(m.Endpoints) != 1 || m.Endpoints[0].Count != 1 || m.Endpoints[0].Role != kernel.RoleServer {
		t.Errorf("endpoints %+v, want the one that was asked for, as a server's", m.Endpoints)
	}
}

func TestACalibrationStandsForTheCallSites(t *testing.T) {
	traced := accountedCaches(vectorSite(128), kernel.Site{CallSite: site("security_sk_alloc"), Cache: 64, Kmalloc: true, Sized: true, Count: 5})
	cal := traced.Calibration()
	infos := testInfos()
	infos[cacheTCP] = kernel.CacheInfo{Name: "TCP", Accounted: true}
	calibrated := CalibratedCaches(testSlabs(), testAliases(), infos, &cal)
	for kind := range kernel.ObjectType(kernel.NumObjectTypes) {
		e := client(1)
		if got, want := calibrated.Of(kind, e), traced.Of(kind, e); got != want {
			t.Errorf("%v costs %+v, want %+v", kind, got, want)
		}
	}
	if cal.Caches["lsm_sock"] != "kmalloc-64" {
		t.Errorf("calibration %+v, want the cache of lsm_sock", cal)
	}
	without := CalibratedCaches(testSlabs(), testAliases(), infos, nil)
	if got := without.Of(kernel.LSMSock, client(1)); got.Cache != "" {
		t.Errorf("without a calibration lsm_sock costs %+v, want nothing", got)
	}
}

func TestTheListOfARunningHostTellsOwnersAndTimes(t *testing.T) {
	l := NewLedger(0)
	e := server(1)
	e.Netns, e.Live = netnsA, kernel.Live{UID: 33, Idle: 1500 * time.Millisecond, Age: -1, Unread: 7, Unacked: 9, PageCache: 4096}
	l.GroupBy(Grouping{Owners: OwnersByFile{e.File: nginx}, Live: true})
	var text strings.Builder
	list := NewEndpointList(&text, l, testCaches(), Processes{})
	if err := errors.Join(list.Count(e), list.Visit(e), list.Flush()); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(text.String())).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	got := map[string]string{}
	for i, column := range rows[0] {
		got[column] = rows[1][i]
	}
	for column, want := range map[string]string{"pid": "100", "comm": "nginx", "netns": "4026532001", "owner": "process", "uid": "33",
		"cgroup": "/docker/a", "container": "a", "age_seconds": "", "idle_seconds": "1.500", "unread_bytes": "7", "unacked_bytes": "9",
		"page_cache_bytes": "4096"} {
		if got[column] != want {
			t.Errorf("%s is %q, want %q", column, got[column], want)
		}
	}
	m := &recording.Machine{}
	l.FillWalk(m, testCaches())
	if top := m.Top[0]; top.Idle == nil || *top.Idle != 1.5 || top.Age != nil || top.UnreadBytes != 7 || top.Container != "a" {
		t.Errorf("the costliest is %+v", top)
	}
}

func TestAListenerThatIsVisitedLastIsTheListenerOfItsConnections(t *testing.T) {
	any := netip.MustParseAddrPort("0.0.0.0:80")
	w := &world{owners: OwnersByFile{}}
	late := w.add(netnsA, nil, listener(), any, none)
	end := w.add(netnsA, nginx, server(1), containerAddress, from(1))
	l := NewLedger(0)
	l.GroupBy(Grouping{Owners: w.owners, Listener: true, Live: true})
	l.Announce(late)
	for _, e := range []*kernel.Endpoint{end, late} {
		l.Visit(e, testCaches())
	}
	m := &recording.Machine{}
	l.FillWalk(m, testCaches())
	if len(m.Groups) != 2 {
		t.Fatalf("groups %+v", m.Groups)
	}
	for _, g := range m.Groups {
		if g.Listener != any.String() || g.Count != 1 {
			t.Errorf("%+v, want one at %v", g, any)
		}
	}
	if n := l.Count(kernel.RoleServer, kernel.StateEstablished); n != 1 {
		t.Errorf("%d servers, want 1", n)
	}
}
