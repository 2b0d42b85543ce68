package account

import (
	"net/netip"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func TestRoleIsTheTracesElseTheListenersElseClient(t *testing.T) {
	tests := []struct {
		name      string
		traced    []kernel.Role // Opened with it
		accepted  bool
		listening bool // a listener has the local port
		state     kernel.State
		want      kernel.Role
	}{
		{"no trace, no listener", nil, false, false, kernel.StateEstablished, kernel.RoleClient},
		{"a listener's port", nil, false, true, kernel.StateEstablished, kernel.RoleServer},
		{"the trace beats the listener's port", []kernel.Role{kernel.RoleClient}, false, true, kernel.StateEstablished,
			kernel.RoleClient},
		{"the trace without a listener", []kernel.Role{kernel.RoleServer}, false, false, kernel.StateEstablished,
			kernel.RoleServer},
		{"a trace that does not know", []kernel.Role{kernel.RoleUnknown}, false, true, kernel.StateEstablished,
			kernel.RoleServer},
		{"accepted, its opening was not traced", nil, true, false, kernel.StateEstablished, kernel.RoleServer},
		{"accepted, whatever was thought before", []kernel.Role{kernel.RoleClient}, true, false, kernel.StateEstablished,
			kernel.RoleServer},
		{"a listener, whatever the trace says", []kernel.Role{kernel.RoleClient}, false, false, kernel.StateListen,
			kernel.RoleListener},
		{"TIME_WAIT at a listener's port", nil, false, true, kernel.StateTimeWait, kernel.RoleServer},
		{"a request at a listener's port", nil, false, true, kernel.StateNewSynRecv, kernel.RoleServer},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, l := testCaches(), NewLedger(0)
			if test.listening {
				l.Visit(listener(), c)
			}
			e := unmarked(server(1))
			e.State = test.state
			for _, role := range test.traced {
				l.Opened(kernel.EndpointEvent{Sock: e.Sock, Role: role})
			}
			if test.accepted {
				l.Accepted(kernel.EndpointEvent{Sock: e.Sock})
			}
			if got := l.Visit(e, c); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
			if n := l.Count(test.want, test.state); n != 1 {
				t.Errorf("%d endpoints counted as %v, want 1", n, test.want)
			}
			if n := l.Count(test.want, kernel.StateEstablished+1); n != 0 {
				t.Errorf("%d endpoints counted in another state", n)
			}
		})
	}
}

func TestLifeOfAnEndpoint(t *testing.T) {
	e := unmarked(server(1))
	open := kernel.EndpointEvent{Sock: e.Sock, Role: kernel.RoleClient, PID: 11, Nanoseconds: 100}
	accept := kernel.EndpointEvent{Sock: e.Sock, PID: 22, Nanoseconds: 200}
	closing := kernel.EndpointEvent{Sock: e.Sock, Nanoseconds: 300}
	serves := open
	serves.Role = kernel.RoleServer
	tests := []struct {
		name   string
		steps  func(*Ledger)
		closes int
		role   kernel.Role
		known  opened
	}{
		{"never seen", func(*Ledger) {}, 0, kernel.RoleClient, opened{}},
		{"opened", func(l *Ledger) { l.Opened(open) }, 0, kernel.RoleClient, opened{100, 11, kernel.RoleClient, false}},
		{"accepted keeps the time it was opened", func(l *Ledger) { l.Opened(open); l.Accepted(accept) }, 0,
			kernel.RoleServer, opened{100, 22, kernel.RoleServer, false}},
		{"accepted only", func(l *Ledger) { l.Accepted(accept) }, 0, kernel.RoleServer, opened{200, 22, kernel.RoleServer, true}},
		{"closed and gone", func(l *Ledger) { l.Opened(open); l.Closed(closing) }, 1, kernel.RoleClient, opened{}},
		{"closing a sock from before the trace", func(l *Ledger) { l.Closed(closing) }, 0, kernel.RoleClient, opened{}},
		{"closed twice counts once", func(l *Ledger) { l.Opened(open); l.Closed(closing); l.Closed(closing) }, 1,
			kernel.RoleClient, opened{}},
		{"the address serves again in another role", func(l *Ledger) { l.Opened(open); l.Closed(closing); l.Opened(serves) },
			1, kernel.RoleServer, opened{100, 11, kernel.RoleServer, false}},
		{"opened and closed twice", func(l *Ledger) {
			l.Opened(open)
			l.Closed(closing)
			l.Opened(serves)
			l.Closed(closing)
		}, 2, kernel.RoleClient, opened{}},
	}
	for _, test := range tests {
		l := NewLedger(0)
		test.steps(l)
		if l.Closes() != test.closes {
			t.Errorf("%s: %d closes, want %d", test.name, l.Closes(), test.closes)
		}
		if got := l.Role(e); got != test.role {
			t.Errorf("%s: role %v, want %v", test.name, got, test.role)
		}
		if got, _ := l.endpoint(e.Sock); got != test.known {
			t.Errorf("%s: the ledger knows %+v, want %+v", test.name, got, test.known)
		}
	}
}

func TestClosesStandInTheRecording(t *testing.T) {
	c, l := testCaches(), NewLedger(0)
	for sock := range uint64(5) {
		l.Opened(kernel.EndpointEvent{Sock: sock, Role: kernel.Role(1 + sock%2)})
	}
	for sock := range uint64(3) {
		l.Closed(kernel.EndpointEvent{Sock: sock})
	}
	ev := evidence(c)
	ev.ClientOpens, ev.ServerOpens = 7, 9
	r := &recording.Machine{}
	l.Fill(r, ev)
	if r.Trace.Closes != 3 || r.Trace.ClientOpens != 7 || r.Trace.ServerOpens != 9 {
		t.Errorf("%+v, want 7 client and 9 server opens, 3 closes", r.Trace)
	}
}

func TestAListenerTakesWhatIsAcceptedAtItsAddress(t *testing.T) {
	const asClient, asServer = kernel.RoleClient, kernel.RoleServer
	tests := []struct {
		name, listener string
		v6Only         bool
		local          string
		want           kernel.Role
	}{
		{"its address and port", "10.0.0.1:80", false, "10.0.0.1:80", asServer},
		{"another port", "10.0.0.1:80", false, "10.0.0.1:81", asClient},
		{"another address", "10.0.0.1:80", false, "10.0.0.2:80", asClient},
		{"all IPv4 addresses", "0.0.0.0:80", false, "10.0.0.2:80", asServer},
		{"all IPv4 addresses, another port", "0.0.0.0:80", false, "10.0.0.2:81", asClient},
		{"all IPv4 addresses are no IPv6 ones", "0.0.0.0:80", false, "[2001:2::1]:80", asClient},
		{"all addresses, IPv6", "[::]:80", false, "[2001:2::1]:80", asServer},
		{"all addresses, IPv4 through an IPv6 socket", "[::]:80", false, "[::ffff:10.0.0.1]:80", asServer},
		{"all addresses, IPv4", "[::]:80", false, "10.0.0.1:80", asServer},
		{"all IPv6 addresses", "[::]:80", true, "[2001:2::1]:80", asServer},
		{"all IPv6 addresses are no IPv4 ones", "[::]:80", true, "10.0.0.1:80", asClient},
		{"all IPv6 addresses are no mapped ones", "[::]:80", true, "[::ffff:10.0.0.1]:80", asClient},
		{"an IPv6 address", "[2001:2::1]:80", false, "[2001:2::1]:80", asServer},
		{"another IPv6 address", "[2001:2::1]:80", false, "[2001:2::2]:80", asClient},
		{"a mapped address", "[::ffff:10.0.0.1]:80", false, "[::ffff:10.0.0.1]:80", asServer},
		{"another mapped address", "[::ffff:10.0.0.1]:80", false, "[::ffff:10.0.0.2]:80", asClient},
		{"all mapped addresses", "[::ffff:0.0.0.0]:80", false, "[::ffff:10.0.0.2]:80", asServer},
		{"all mapped addresses are no IPv6 ones", "[::ffff:0.0.0.0]:80", false, "[2001:2::1]:80", asClient},
	}
	for _, test := range tests {
		c, l := testCaches(), NewLedger(0)
		at, e := listener(), unmarked(server(1))
		at.Local, at.V6Only = netip.MustParseAddrPort(test.listener), test.v6Only
		e.Local = netip.MustParseAddrPort(test.local)
		l.Visit(at, c)
		if got := l.Visit(e, c); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// Two listeners may have a port together: one takes IPv4 for all addresses, the other no IPv4.
func TestListenersOfBothFamiliesDoNotHideEachOther(t *testing.T) {
	for _, first := range []bool{true, false} {
		c, l := testCaches(), NewLedger(0)
		only, both := listener(), listener()
		only.Local, only.V6Only = netip.MustParseAddrPort("[::]:80"), first
		both.Local, both.V6Only = netip.MustParseAddrPort("[::]:80"), !first
		l.Visit(only, c)
		l.Visit(both, c)
		e := unmarked(server(1))
		e.Local = netip.MustParseAddrPort("10.0.0.1:80")
		if got := l.Visit(e, c); got != kernel.RoleServer {
			t.Errorf("%v, want server", got)
		}
	}
}

func TestAcceptedEndsOfNobodyAreCounted(t *testing.T) {
	c, l := testCaches(), NewLedger(0)
	accepted, missed, queued, before := server(1), server(2), server(3), server(4)
	queued.Objects[kernel.SocketAlloc] = 0
	for _, e := range []*kernel.Endpoint{accepted, missed, queued} {
		l.Opened(kernel.EndpointEvent{Sock: e.Sock, Role: kernel.RoleServer})
	}
	l.Accepted(kernel.EndpointEvent{Sock: accepted.Sock, PID: 7})
	for _, e := range []*kernel.Endpoint{listener(), accepted, missed, queued, before} {
		l.Visit(e, c)
	}
	if got := l.Unclaimed(); got != 1 {
		t.Errorf("%d accepted ends of nobody, want the one whose accept was missed", got)
	}
}
