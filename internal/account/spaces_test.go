package account

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func in(netns uint32, e *kernel.Endpoint) *kernel.Endpoint { e.Netns = netns; return e }

// In one container something listens at 172.17.0.2:80, in the other nothing does.
func TestAListenerIsNoneOfAnotherNamespace(t *testing.T) {
	c, l := testCaches(), NewLedger(0)
	l.Visit(in(netnsA, listener()), c)
	l.Service(netnsB, netip.MustParseAddrPort("10.7.7.7:7"))
	to := func(netns uint32, remote string) *kernel.Endpoint {
		e := in(netns, inTimeWait(boundTo(client(1))))
		e.Remote = netip.MustParseAddrPort(remote)
		return e
	}
	for _, test := range []struct {
		name string
		end  *kernel.Endpoint
		want kernel.Role
	}{
		{"accepted where the listener is", in(netnsA, inTimeWait(server(1))), kernel.RoleServer},
		{"the same four-tuple elsewhere", in(netnsB, inTimeWait(server(1))), kernel.RoleUnknown},
		{"connected to the listener", to(netnsA, "10.0.1.1:5000"), kernel.RoleClient},
		{"the same four-tuple elsewhere", to(netnsB, "10.0.1.1:5000"), kernel.RoleUnknown},
		{"connected to a service that the ledger was told of", to(netnsB, "10.7.7.7:7"), kernel.RoleClient},
		{"the same four-tuple elsewhere", to(netnsA, "10.7.7.7:7"), kernel.RoleUnknown},
	} {
		if got := l.Visit(test.end, c); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestAddressesAreCountedByNamespaceWhereThereAreSeveral(t *testing.T) {
	row := func(netns uint32, address string, role kernel.Role, count int) recording.AddressRow {
		return recording.AddressRow{Netns: netns, Address: address, Role: role, Count: count}
	}
	got := newWorld().walk(Grouping{}).Addresses
	for _, want := range []recording.AddressRow{row(netnsA, "172.17.0.2", kernel.RoleServer, 16),
		row(netnsB, "172.17.0.2", kernel.RoleServer, 16), row(netnsB, "172.17.0.2", kernel.RoleListener, 1),
		row(netnsHost, "172.17.0.1", kernel.RoleClient, 23), row(netnsHost, "10.0.0.9", kernel.RoleServer, 1)} {
		if !slices.Contains(got, want) {
			t.Errorf("no %+v in %+v", want, got)
		}
	}
	one := filled(testCaches(), in(netnsA, client(1)), in(netnsA, client(2))).Addresses
	if want := []recording.AddressRow{row(0, "10.0.0.1", kernel.RoleClient, 2)}; !slices.Equal(one, want) {
		t.Errorf("one namespace: %+v, want %+v", one, want)
	}
}

func TestClientPortsAreCountedByNamespace(t *testing.T) {
	var ends []*kernel.Endpoint
	for i, netns := range []uint32{netnsB, netnsA, netnsA, netnsB, netnsB} {
		e := in(netns, client(0))
		e.Sock += uint64(i) * 4096
		e.Remote = netip.AddrPortFrom(serverAddress.Addr(), uint16(5000+i))
		ends = append(ends, e)
	}
	p := filled(testCaches(), append(ends, in(netnsA, client(7)))...).ClientPorts
	if p.Used != 3 || p.Most != 3 || p.Example != 10000 || p.Netns != netnsA || len(p.Connections) != 2 {
		t.Errorf("%+v, want 3 ports, 3 connections of one, and 2 on port 10000 of namespace %d", p, netnsA)
	}
	p = filled(testCaches(), in(netnsA, client(8)), in(netnsB, client(3))).ClientPorts
	if p.Example != int(client(3).Local.Port()) || p.Netns != netnsB {
		t.Errorf("%+v, want the lowest port, in namespace %d", p, netnsB)
	}
	p = filled(testCaches(), in(netnsA, client(1)), in(netnsB, inTimeWait(server(2)))).ClientPorts
	if p.Used != 1 || p.Netns != netnsA {
		t.Errorf("%+v, want one port, in namespace %d", p, netnsA)
	}
}

func TestANamespaceWithoutEndpointsMakesNoneOfSeveral(t *testing.T) {
	l := NewLedger(0)
	l.Service(netnsB, serverAddress)
	l.Visit(in(netnsA, client(1)), testCaches())
	r := &recording.Machine{}
	l.Fill(r, evidence(testCaches()))
	if r.Addresses[0].Netns != 0 || r.ClientPorts.Netns != 0 || r.Top[0].Netns != 0 {
		t.Errorf("%+v, %+v and %+v name the only namespace", r.Addresses, r.ClientPorts, r.Top)
	}
}

func TestOfEqualFourTuplesTopKeepsWhatTheNamespacesTellApart(t *testing.T) {
	var ends []*kernel.Endpoint
	for i := range uint32(150) {
		e := in(4026532000+i, client(1))
		e.Sock -= uint64(i) * 4096
		ends = append(ends, e)
	}
	slices.Reverse(ends)
	for i, e := range filled(testCaches(), ends...).Top {
		if e.Netns != 4026532000+uint32(i) {
			t.Fatalf("place %d has the namespace %d, want %d", i, e.Netns, 4026532000+i)
		}
	}
}

// Several processes can listen at one address and port (SO_REUSEPORT).
func TestOfListenersAtOneAddressTopKeepsTheSameInEveryOrder(t *testing.T) {
	var first []recording.TopEndpoint
	for _, reverse := range []bool{false, true} {
		l, ends := NewLedger(0), []*kernel.Endpoint{}
		for i := range uint32(150) {
			e := listener()
			e.Sock += uint64(i) * 4096
			l.Opened(kernel.EndpointEvent{Sock: e.Sock, PID: 1 + i})
			ends = append(ends, e)
		}
		if reverse {
			slices.Reverse(ends)
		}
		for _, e := range ends {
			l.Visit(e, testCaches())
		}
		r := &recording.Machine{}
		l.FillWalk(r, testCaches())
		if first == nil {
			first = r.Top
		}
		if !reflect.DeepEqual(r.Top, first) {
			t.Errorf("%+v, then %+v", first, r.Top)
		}
	}
}

func TestTopAndTheListTellTheOwnerByFile(t *testing.T) {
	w := newWorld()
	for _, e := range w.walk(w.by()).Top {
		switch {
		case e.Netns == netnsA && e.State == "LISTEN":
			if e.PID != 100 || e.Comm != "nginx" || e.Owner != recording.OwnerProcess {
				t.Errorf("%+v, want nginx's", e)
			}
		case e.State == "FIN_WAIT2":
			if e.PID != 0 || e.Owner != recording.OwnerOrphan {
				t.Errorf("%+v, want an orphan", e)
			}
		}
	}
	l := NewLedger(0)
	l.GroupBy(w.by())
	rows := csvRows(t, l, testCaches(), slices.Concat(w.listeners, w.endpoints)...)
	pids := map[string]int{}
	for _, row := range rows {
		pids[row["pid"]+" "+row["comm"]]++
	}
	if pids["100 nginx"] != 11 || pids["200 caddy"] != 11 || pids["300 wrk"] != 22 || pids["0 "] != 16 || len(pids) != 4 {
		t.Errorf("endpoints by process %v, want 11 of nginx, 11 of caddy, 22 of wrk, 16 of none", pids)
	}
}
