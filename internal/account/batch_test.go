package account

import (
	"reflect"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// The rest of a run is not traced: its objects must not be held against allocations that nobody counted.
func TestBatchIsComparedWithItsOwnWalk(t *testing.T) {
	c := testCaches()
	traced := []kernel.Site{
		{CallSite: site("sk_prot_alloc"), Cache: cacheTCP, Role: kernel.RoleClient, Count: 2},
		{CallSite: site("alloc_empty_file"), Cache: cacheFilp, Role: kernel.RoleClient, Count: 2},
		{CallSite: site("alloc_empty_file"), Cache: cacheFilp, Role: kernel.RoleServer, Count: 1}, // one is missing
	}
	acted := []kernel.Site{{CallSite: site("vfs_read"), Cache: cacheFilp, Count: 7}}
	b := &Batch{Connections: 2, Sites: traced, ServerOpens: 2}
	for _, e := range []*kernel.Endpoint{listener(), client(0), server(0), client(1), server(1)} {
		if err := b.Visit(e); err != nil {
			t.Fatal(err)
		}
	}
	all := []*kernel.Endpoint{listener()}
	for i := range 9 {
		all = append(all, client(i), server(i))
	}
	ev := evidence(c, append(traced, acted...)...)
	ev.Batch, ev.ScenarioSites = b, acted
	ev.ClientOpens, ev.ServerOpens = 9, 9
	r := &recording.Machine{}
	visited(c, all...).Fill(r, ev)

	got := map[string]recording.TypeRow{}
	for _, row := range r.Trace.Types {
		got[row.Role.String()+" "+row.Type] = row
	}
	for key, want := range map[string][2]int{"client tcp_sock": {2, 2}, "server tcp_sock": {2, 2}, "client file": {2, 2},
		"server file": {1, 2}, "client dentry": {0, 2}} {
		if row := got[key]; row.Trace != want[0] || row.Walk != want[1] {
			t.Errorf("%s: trace %d and walk %d, want %v", key, row.Trace, row.Walk, want)
		}
	}
	if r.Trace.BatchConnections != 2 || r.Trace.ClientOpens != 9 || r.Trace.ServerOpens != 9 {
		t.Errorf("a batch of %d, %d and %d opens, want 2, 9 and 9", r.Trace.BatchConnections, r.Trace.ClientOpens,
			r.Trace.ServerOpens)
	}
	if rowOf(t, r, kernel.RoleClient, "ESTABLISHED").Count != 9 {
		t.Errorf("the account is not the whole run's: %+v", r.Endpoints)
	}
	want := []recording.CallSite{{Function: "vfs_read", Cache: "filp", Allocs: 7}}
	if !reflect.DeepEqual(r.Trace.ScenarioCallSites, want) {
		t.Errorf("the scenario's call sites are %+v, want %+v", r.Trace.ScenarioCallSites, want)
	}
	for _, s := range r.Trace.CallSites {
		if s.Function == "vfs_read" {
			t.Errorf("the scenario's allocations are among the batch's: %+v", s)
		}
	}
}

func TestBatchKeepsItsEndpointsWhenTheReaderReusesItsOwn(t *testing.T) {
	b := &Batch{}
	e := client(0)
	for i := range 2 {
		*e = *client(i)
		if err := b.Visit(e); err != nil {
			t.Fatal(err)
		}
	}
	if b.endpoints[0].Sock == b.endpoints[1].Sock {
		t.Error("both endpoints are the last one")
	}
}

// The load rests while the batch is walked: memory that has to be found meanwhile is time that every run takes longer.
func TestBatchHasRoomForItsEndpoints(t *testing.T) {
	const connections = 200
	b, e := NewBatch(connections), *client(0)
	if n := testing.AllocsPerRun(2*connections-1, func() { _ = b.Visit(&e) }); n != 0 || len(b.endpoints) != 2*connections {
		t.Errorf("%v allocations an endpoint, %d endpoints", n, len(b.endpoints))
	}
}

func TestLedgerHasRoomForTheStepsThatItExpects(t *testing.T) {
	const steps = 100
	l := NewLedger(0)
	l.Opened(kernel.EndpointEvent{Sock: 1, Role: kernel.RoleClient, PID: 7, Nanoseconds: 9})
	l.Expect(1 + steps)
	again := kernel.EndpointEvent{Sock: 2, Role: kernel.RoleServer, Nanoseconds: 10}
	if n := testing.AllocsPerRun(steps-1, func() { l.Opened(again) }); n != 0 || len(l.log) != 1+steps {
		t.Errorf("%v allocations a step, %d steps", n, len(l.log))
	}
	if o, ok := l.endpoint(1); !ok || o.pid != 7 || o.nanoseconds != 9 {
		t.Errorf("what was written before is %+v, %v", o, ok)
	}
	if _, ok := l.endpoint(0); ok || len(l.opened) != 2 {
		t.Errorf("%d endpoints", len(l.opened))
	}
}
