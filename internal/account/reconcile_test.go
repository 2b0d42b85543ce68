package account

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func TestUnexplainedRatio(t *testing.T) {
	rows := []recording.EndpointRow{{PageBytes: 600}, {PageBytes: 300}}
	tests := []struct {
		name          string
		before, after uint64
		delta         int64
		ratio         float64
	}{
		{"all explained", 5000, 5900, 900, 0},
		{"a tenth unexplained", 5000, 6000, 1000, 0.1},
		{"accounted for more than there is", 5000, 5600, 600, 0.5},
		{"slab memory shrank", 5000, 4000, -1000, 1.9},
		{"slab memory did not change: there is no ratio", 5000, 5000, 0, 0},
		{"sizes beyond 32 bits", 1 << 40, 1<<40 + 1<<36, 1 << 36, 1 - 900.0/(1<<36)},
	}
	for _, test := range tests {
		got := reconcile(rows, nil, Snapshot{SlabBytes: test.before}, Snapshot{SlabBytes: test.after}, noVectors, grownOthers{})
		if got.SlabDeltaBytes != test.delta || got.AccountedPageBytes != 900 {
			t.Errorf("%s: delta %d, accounted %d", test.name, got.SlabDeltaBytes, got.AccountedPageBytes)
		}
		if math.Abs(got.UnexplainedRatio-test.ratio) > 1e-12 {
			t.Errorf("%s: ratio %v, want %v", test.name, got.UnexplainedRatio, test.ratio)
		}
	}
}

func TestReconcileListsTheAccountsCachesAndWhatElseGrew(t *testing.T) {
	slab := func(name string, active, slabs uint64) kernel.Slab {
		return kernel.Slab{Name: name, ActiveObjects: active, Objects: 16 * slabs, ObjectBytes: 100, ObjectsPerSlab: 16,
			PagesPerSlab: 1, Slabs: slabs}
	}
	noticed := noteworthy / page
	before := Snapshot{Slabs: map[string]kernel.Slab{"TCP": slab("TCP", 10, 100), "grew": slab("grew", 1, 5),
		"quiet": slab("quiet", 5, 5), "shrank": slab("shrank", 5, 2+noticed), "idle": slab("idle", 7, 7)}}
	after := Snapshot{Slabs: map[string]kernel.Slab{"TCP": slab("TCP", 40, 103), "grew": slab("grew", 2, 5+noticed),
		"quiet": slab("quiet", 9, 4+noticed), "shrank": slab("shrank", 1, 2), "new": slab("new", 3, noticed),
		"idle": slab("idle", 7, 7)}}
	rows := []recording.EndpointRow{
		{PageBytes: 50, Objects: []recording.ObjectRow{{Cache: "TCP", Count: 20, PageBytes: 30},
			{Cache: "idle", Count: 2, PageBytes: 20}}},
		{PageBytes: 15, Objects: []recording.ObjectRow{{Cache: "TCP", Count: 9, PageBytes: 15}}}}
	each, much := float64(page)/16, int64(noteworthy)
	want := []recording.CacheRow{ // largest growth first; "quiet" is not worth a row
		{Cache: "grew", SlabinfoDeltaObjects: 1, SlabinfoDeltaBytes: much, ObjectSizeBytes: 100, PageBytesEachObject: each},
		{Cache: "new", SlabinfoDeltaObjects: 3, SlabinfoDeltaBytes: much, ObjectSizeBytes: 100, PageBytesEachObject: each},
		{Cache: "TCP", SlabinfoDeltaObjects: 30, AccountedObjects: 29, SlabinfoDeltaBytes: 3 * int64(page),
			AccountedPageBytes: 45, ReusedBytes: -18 * int64(each), ObjectSizeBytes: 100, PageBytesEachObject: each},
		{Cache: "idle", AccountedObjects: 2, AccountedPageBytes: 20, ObjectSizeBytes: 100, PageBytesEachObject: each},
		{Cache: "shrank", SlabinfoDeltaObjects: -4, SlabinfoDeltaBytes: -much, ObjectSizeBytes: 100, PageBytesEachObject: each},
	}
	if got := reconcile(rows, nil, before, after, noVectors, grownOthers{}).Caches; !slices.Equal(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}

func TestCallSitesAddUpOverTasks(t *testing.T) {
	c := testCaches()
	ev := evidence(c,
		kernel.Site{CallSite: site("sk_prot_alloc"), Cache: cacheTCP, Role: kernel.RoleClient, Count: 5},
		kernel.Site{CallSite: site("sk_prot_alloc") + 8, Cache: cacheTCP, Role: kernel.RoleServer, Atomic: true, Count: 6},
		kernel.Site{CallSite: site("sk_prot_alloc"), Cache: cacheFilp, Count: 1},
		kernel.Site{CallSite: site("do_epoll_ctl"), Cache: cacheEpi, Free: true, Count: 7}, // what it frees may be anything
		kernel.Site{CallSite: site("vfs_read"), Cache: cacheFilp, Free: true, Count: 40},
		kernel.Site{CallSite: site("vfs_read"), Cache: cacheFilp, Count: 2})
	got := callSites(ev.Sites, ev)
	want := []recording.CallSite{{Function: "vfs_read", Cache: "filp", Allocs: 2, Frees: 40},
		{Function: "sk_prot_alloc", Cache: "TCP", Type: "tcp_sock", Allocs: 11},
		{Function: "do_epoll_ctl", Cache: "eventpoll_epi", Frees: 7},
		{Function: "sk_prot_alloc", Cache: "filp", Allocs: 1}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTraceIsHeldAgainstWalkByRoleAndType(t *testing.T) {
	c := testCaches()
	ev := evidence(c,
		kernel.Site{CallSite: site("sk_prot_alloc"), Cache: cacheTCP, Role: kernel.RoleClient, Count: 5},
		// In softirq context the task is whoever was interrupted.
		kernel.Site{CallSite: site("sk_prot_alloc"), Cache: cacheTCP, Role: kernel.RoleClient, Atomic: true, Count: 3},
		kernel.Site{CallSite: site("alloc_empty_file"), Cache: cacheFilp, Role: kernel.RoleServer, Count: 9},
		kernel.Site{CallSite: site("alloc_empty_file"), Cache: cacheFilp, Role: kernel.RoleServer, Free: true, Count: 99},
		kernel.Site{CallSite: site("inet_bind_bucket_create"), Cache: cacheEpi, Role: kernel.RoleServer, Count: 2})
	ev.ServerOpens = 4
	rows := []recording.EndpointRow{
		{Role: kernel.RoleClient, Objects: []recording.ObjectRow{{Type: "tcp_sock", Count: 5}, {Type: "file", Count: 6}}},
		{Role: kernel.RoleClient, Objects: []recording.ObjectRow{{Type: "tcp_sock", Count: 1},
			{Type: "tcp_timewait_sock", Count: 8}}}}
	want := []recording.TypeRow{typeRow(kernel.RoleClient, "tcp_sock", 5, 6), typeRow(kernel.RoleClient, "file", 0, 6),
		typeRow(kernel.RoleServer, "tcp_sock", 4, 0), typeRow(kernel.RoleServer, "file", 9, 0)}
	if got := NewLedger(0).typeRows(rows, ev); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestListenersAreHeldAgainstWhatTheirServerAllocated(t *testing.T) {
	c := testCaches()
	ev := evidence(c,
		kernel.Site{CallSite: site("sk_prot_alloc"), Cache: cacheTCP, Role: kernel.RoleServer, Count: 5},
		kernel.Site{CallSite: site("alloc_empty_file"), Cache: cacheFilp, Role: kernel.RoleServer, Count: 9})
	listeners := recording.EndpointRow{Role: kernel.RoleListener, Objects: []recording.ObjectRow{
		{Type: "tcp_sock", Count: 5}, {Type: "file", Count: 8}, {Type: "dentry", Count: 1}}}
	ofListeners := []recording.TypeRow{typeRow(kernel.RoleListener, "tcp_sock", 5, 5),
		typeRow(kernel.RoleListener, "file", 9, 8)}
	if got := NewLedger(0).typeRows([]recording.EndpointRow{listeners}, ev); !reflect.DeepEqual(got, ofListeners) {
		t.Errorf("listeners alone: got %+v, want %+v", got, ofListeners)
	}
	accepted := recording.EndpointRow{Role: kernel.RoleServer, Objects: []recording.ObjectRow{{Type: "file", Count: 9}}}
	want := []recording.TypeRow{typeRow(kernel.RoleServer, "file", 9, 9)}
	if got := NewLedger(0).typeRows([]recording.EndpointRow{listeners, accepted}, ev); !reflect.DeepEqual(got, want) {
		t.Errorf("accepted ends as well: got %+v, want %+v", got, want)
	}
}
