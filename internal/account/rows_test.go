package account

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func TestCountsAndBytesAreExact(t *testing.T) {
	var endpoints []*kernel.Endpoint
	endpoints = append(endpoints, listener())
	for i := range 1000 {
		c, s := client(i), server(i)
		c.Buffers.Wmem, s.Buffers.Rmem = 10, 7
		endpoints = append(endpoints, c, s)
	}
	r := filled(testCaches(), endpoints...)
	row := rowOf(t, r, kernel.RoleClient, "ESTABLISHED")
	want := []recording.ObjectRow{ // costliest first
		objectRow("tcp_sock", "TCP", 1000, 1900_000, 1000*page/2),
		objectRow("socket_alloc", "sock_inode_cache", 1000, 832_000, 1000*page/4),
		objectRow("dentry", "dentry", 1000, 190_000, 1000*page/16),
		objectRow("file", "filp", 1000, 192_000, 1000*page/16),
		objectRow("inet_bind_bucket", "eventpoll_epi", 1000, 128_000, 1000*page/32),
	}
	if !slices.Equal(row.Objects, want) {
		t.Errorf("client objects\n%+v, want\n%+v", row.Objects, want)
	}
	if row.Count != 1000 || row.ObjectBytes != 3242_000 || row.PageBytes != 1000*page*29/32 || row.BufferBytes != 10_000 {
		t.Errorf("client row %+v", row)
	}
	row = rowOf(t, r, kernel.RoleServer, "ESTABLISHED")
	merged := objectRow("eppoll_entry", "anon_vma_chain", 1000, 64_000, 1000*page/64)
	if o := objectOf(row, kernel.EppollEntry); o != merged {
		t.Errorf("%+v, want %+v", o, merged)
	}
	if row.Count != 1000 || row.BufferBytes != 7000 {
		t.Errorf("server row %+v", row)
	}
	if row = rowOf(t, r, kernel.RoleListener, "LISTEN"); row.Count != 1 {
		t.Errorf("listener row %+v", row)
	}
}

func TestShortLivedStatesHaveRowsAndCachesOfTheirOwn(t *testing.T) {
	timeWait, request := client(1), server(2)
	timeWait.State, timeWait.Cache, timeWait.Objects = kernel.StateTimeWait, cacheTW, [kernel.NumObjectTypes]uint16{}
	timeWait.Objects[kernel.TimewaitSock] = 1
	request.State, request.Cache, request.Objects = kernel.StateNewSynRecv, cacheReq, [kernel.NumObjectTypes]uint16{}
	request.Objects[kernel.RequestSock] = 1
	r := filled(testCaches(), listener(), client(0), server(0), timeWait, request)
	if len(r.Endpoints) != 5 {
		t.Errorf("%d rows, want 5", len(r.Endpoints))
	}
	row := rowOf(t, r, kernel.RoleClient, "TIME_WAIT")
	if o := objectOf(row, kernel.TimewaitSock); o != objectRow("tcp_timewait_sock", "tw_sock_TCP", 1, 256, page/16) {
		t.Errorf("TIME_WAIT holds %+v", o)
	}
	row = rowOf(t, r, kernel.RoleServer, "SYN_RECV")
	if o := objectOf(row, kernel.RequestSock); o != objectRow("tcp_request_sock", "request_sock_TCP", 1, 300, page/8) {
		t.Errorf("SYN_RECV holds %+v", o)
	}
}

// In an accept queue the sock has a request beside it, from a cache that the sock does not lead to.
func TestAConnectionThatNobodyHasAcceptedHasItsRequest(t *testing.T) {
	for local, want := range map[string]recording.ObjectRow{
		"10.0.1.1:5000":      objectRow("tcp_request_sock", "request_sock_TCP", 1, 300, page/8),
		"[2001:db8::1]:5000": objectRow("tcp_request_sock", "request_sock_TCPv6", 1, 310, page/4),
	} {
		e := withoutSocket(server(1))
		e.Local = netip.MustParseAddrPort(local)
		e.Objects[kernel.RequestSock] = 1
		row := rowOf(t, filled(testCaches(), listener(), e), kernel.RoleServer, "ESTABLISHED")
		if o := objectOf(row, kernel.RequestSock); o != want {
			t.Errorf("%s: %+v, want %+v", local, o, want)
		}
		if o := objectOf(row, kernel.TCPSock); o.Cache != "TCP" || o.Count != 1 {
			t.Errorf("%s: its sock is %+v", local, o)
		}
	}
}

func TestIPv6EndpointsCostWhatTCPv6Costs(t *testing.T) {
	v6 := func(cache uint64) *kernel.Endpoint {
		e := client(1)
		e.Cache, e.Local = cache, netip.MustParseAddrPort("[2001:db8::1]:10001")
		return e
	}
	for name, cache := range map[string]uint64{"by the address of its cache": cacheTCPv6, "by its family": 0xdead} {
		row := rowOf(t, filled(testCaches(), v6(cache)), kernel.RoleClient, "ESTABLISHED")
		if o := objectOf(row, kernel.TCPSock); o != objectRow("tcp_sock", "TCPv6", 1, 2000, page) {
			t.Errorf("%s: %+v", name, o)
		}
	}
	// Both families in one row: the types stay apart by cache.
	row := rowOf(t, filled(testCaches(), client(0), v6(cacheTCPv6), v6(cacheTCPv6), client(2), client(3)), kernel.RoleClient,
		"ESTABLISHED")
	want := []recording.ObjectRow{objectRow("tcp_sock", "TCPv6", 2, 4000, 2*page),
		objectRow("tcp_sock", "TCP", 3, 5700, 3*page/2)}
	if row.Count != 5 || !slices.Equal(row.Objects[:2], want) {
		t.Errorf("mixed row %+v, want %+v first", row, want)
	}
}

func TestRowsAreSortedByRoleThenCount(t *testing.T) {
	closing := func(e *kernel.Endpoint, s kernel.State) *kernel.Endpoint { e.State = s; return e }
	r := filled(testCaches(), listener(), closing(server(1), 8), server(2), server(3), closing(client(1), 5),
		closing(client(2), 4), client(3), client(4), closing(client(5), 5))
	var got []string
	for _, row := range r.Endpoints {
		got = append(got, fmt.Sprint(row.Role, " ", row.State, " ", row.Count))
	}
	want := []string{"client ESTABLISHED 2", "client FIN_WAIT2 2", "client FIN_WAIT1 1", "server ESTABLISHED 2",
		"server CLOSE_WAIT 1", "listener LISTEN 1"}
	if !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
}

func TestAddressesAreCountedByRoleInNumericalOrder(t *testing.T) {
	at := func(address string) *kernel.Endpoint {
		e := client(1)
		e.Local = netip.AddrPortFrom(netip.MustParseAddr(address), 1)
		return e
	}
	r := filled(testCaches(), listener(), at("10.0.0.10"), at("10.0.0.9"), at("10.0.0.10"), server(1))
	want := []recording.AddressRow{
		{Address: "10.0.0.9", Role: kernel.RoleClient, Count: 1},
		{Address: "10.0.0.10", Role: kernel.RoleClient, Count: 2},
		{Address: "10.0.1.1", Role: kernel.RoleListener, Count: 1},
		{Address: "10.0.1.1", Role: kernel.RoleServer, Count: 1},
	}
	if !slices.Equal(r.Addresses, want) {
		t.Errorf("got %v, want %v", r.Addresses, want)
	}
}

func TestEndpointsThatCouldNotBeFollowedAreSkipped(t *testing.T) {
	bare, truncated := client(1), client(2)
	bare.Objects = [kernel.NumObjectTypes]uint16{}
	truncated.Truncated = true
	l := visited(testCaches(), client(0), bare, truncated)
	if l.Skipped() != 2 {
		t.Errorf("%d skipped, want 2", l.Skipped())
	}
	if n := l.Count(kernel.RoleClient, kernel.StateEstablished); n != 3 {
		t.Errorf("%d endpoints counted, want all 3", n)
	}
}

func TestAnEmptyWalkGivesEmptyLists(t *testing.T) {
	r := filled(testCaches())
	if r.Endpoints == nil || r.Addresses == nil || r.Top == nil || r.Stacks == nil || r.Reconcile.Caches == nil ||
		r.Trace.CallSites == nil || r.Trace.Types == nil {
		t.Errorf("a list is null in %+v", r)
	}
	if len(r.Endpoints) != 0 {
		t.Errorf("rows of nothing: %+v", r.Endpoints)
	}
}
