package account

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// The following make of an open end what the kernel makes of it.

// boundTo is a client whose program chose the port by bind().
func boundTo(e *kernel.Endpoint) *kernel.Endpoint {
	e.BindByConnect, e.BindLocked = false, true
	return e
}

// inTimeWait is a sock of its own, that keeps of the first one its bind bucket alone.
func inTimeWait(e *kernel.Endpoint) *kernel.Endpoint {
	buckets := e.Objects[kernel.BindBucket]
	e.Sock += 0x8_0000_0000
	e.State, e.Cache, e.File, e.BindLocked, e.Cloned = kernel.StateTimeWait, cacheTW, 0, false, false
	e.Objects = [kernel.NumObjectTypes]uint16{kernel.TimewaitSock: 1, kernel.BindBucket: buckets}
	return e
}

// finWait is an end that has sent its FIN.
func finWait(e *kernel.Endpoint) *kernel.Endpoint { return inState(e, 5) }

// withoutSocket leaves the bare sock.
func withoutSocket(e *kernel.Endpoint) *kernel.Endpoint {
	e.File = 0
	e.Objects = [kernel.NumObjectTypes]uint16{kernel.TCPSock: 1, kernel.BindBucket: e.Objects[kernel.BindBucket]}
	return e
}

func orphaned(e *kernel.Endpoint) *kernel.Endpoint { e.Dead = true; return withoutSocket(e) }

func requested(e *kernel.Endpoint) *kernel.Endpoint {
	e.State, e.Cache, e.File, e.Cloned = kernel.StateNewSynRecv, cacheReq, 0, false
	e.Objects = [kernel.NumObjectTypes]uint16{kernel.RequestSock: 1}
	return e
}

// scenarios are what a run brings its ends into; nil where an end is gone.
var scenarios = map[string]struct {
	client, server func(*kernel.Endpoint) *kernel.Endpoint
}{
	"idle":                   {open, open},
	"time-wait":              {inTimeWait, nil},
	"server in TIME_WAIT":    {nil, inTimeWait},
	"half-closed":            {finWait, func(e *kernel.Endpoint) *kernel.Endpoint { return inState(e, 8) }},
	"orphaned":               {func(e *kernel.Endpoint) *kernel.Endpoint { return finWait(orphaned(e)) }, open},
	"orphaned for longer":    {func(e *kernel.Endpoint) *kernel.Endpoint { return finWait(inTimeWait(e)) }, open},
	"syn-recv":               {func(e *kernel.Endpoint) *kernel.Endpoint { return inState(e, kernel.StateSynSent) }, requested},
	"waiting to be accepted": {open, withoutSocket},
}

func open(e *kernel.Endpoint) *kernel.Endpoint { return e }

// runEnds is both ends of ten connections in a scenario, the listener first.
func runEnds(name string, choose func(*kernel.Endpoint) *kernel.Endpoint) (clients, servers []*kernel.Endpoint) {
	servers = append(servers, listener())
	for i := range 10 {
		if arrange := scenarios[name].client; arrange != nil {
			clients = append(clients, arrange(choose(client(i))))
		}
		if arrange := scenarios[name].server; arrange != nil {
			servers = append(servers, arrange(server(i)))
		}
	}
	return clients, servers
}

// tracing is a ledger that has seen the connections opened.
func tracing(clients, servers []*kernel.Endpoint) *Ledger {
	l := NewLedger(0)
	for role, ends := range map[kernel.Role][]*kernel.Endpoint{kernel.RoleClient: clients, kernel.RoleServer: servers} {
		for _, e := range ends {
			if full(e) && e.State != kernel.StateListen { // the trace knows no request socks and none in TIME_WAIT
				l.Opened(kernel.EndpointEvent{Sock: e.Sock, Role: role})
			}
		}
	}
	return l
}

// rolesOf is the roles that a ledger gives to both ends.
func rolesOf(t *testing.T, l *Ledger, clients, servers []*kernel.Endpoint) {
	t.Helper()
	c := testCaches()
	for _, e := range servers {
		want := kernel.RoleServer
		if e.State == kernel.StateListen {
			want = kernel.RoleListener
		}
		if got := l.Visit(e, c); got != want {
			t.Errorf("the accepted end in %v is a %v", e.State, got)
		}
	}
	for _, e := range clients {
		if got := l.Visit(e, c); got != kernel.RoleClient {
			t.Errorf("the connecting end in %v is a %v", e.State, got)
		}
	}
}

// However the load chooses its ports, with and without a trace, on one machine and on two: the roles are those of the run.
func TestTheRolesOfARunAreItsEnds(t *testing.T) {
	for name := range scenarios {
		for way, choose := range map[string]func(*kernel.Endpoint) *kernel.Endpoint{"connect": open, "bind": boundTo} {
			t.Run(fmt.Sprint(name, " by ", way), func(t *testing.T) {
				clients, servers := runEnds(name, choose)
				rolesOf(t, tracing(clients, servers), clients, servers)
				rolesOf(t, NewLedger(0), clients, servers)
				connecting := NewLedger(0) // the accepting end is on another machine
				connecting.Service(0, serverAddress)
				rolesOf(t, connecting, clients, nil)
				rolesOf(t, NewLedger(0), nil, servers)
			})
		}
	}
}

// The trace adds nothing to the account of what the marks tell already.
func TestARunsAccountIsTheSameWithAndWithoutTrace(t *testing.T) {
	for name := range scenarios {
		clients, servers := runEnds(name, open)
		var accounts [2]recording.Machine
		for i, l := range []*Ledger{tracing(clients, servers), NewLedger(0)} {
			rolesOf(t, l, clients, servers)
			l.FillWalk(&accounts[i], testCaches())
		}
		if !reflect.DeepEqual(accounts[0], accounts[1]) {
			t.Errorf("%s: with trace\n%+v, without\n%+v", name, accounts[0], accounts[1])
		}
	}
}

func TestWhatNothingTellsTheRoleOfIsUnknown(t *testing.T) {
	elsewhere := func(e *kernel.Endpoint) *kernel.Endpoint {
		e.Local, e.Remote = netip.MustParseAddrPort("10.9.9.9:700"), netip.MustParseAddrPort("10.8.8.8:800")
		return e
	}
	const asClient, asServer, unknown = kernel.RoleClient, kernel.RoleServer, kernel.RoleUnknown
	tests := []struct {
		name string
		end  *kernel.Endpoint
		want kernel.Role
	}{
		{"accepted, its listener is gone", server(1), asServer},
		{"accepted and in TIME_WAIT, its listener is gone", inTimeWait(server(1)), unknown},
		{"bound to a port and in TIME_WAIT, to nobody knows what", inTimeWait(boundTo(client(1))), unknown},
		{"in TIME_WAIT with a port that connect() chose", inTimeWait(client(1)), asClient},
		{"bound to port 0 and connected", unmarked(client(1)), asClient},
		{"in CLOSE, never connected", inState(unmarked(client(1)), kernel.StateClose), unknown},
		{"in CLOSE, reset", inState(client(1), kernel.StateClose), unknown},
		{"in CLOSE, accepted and reset", inState(server(1), kernel.StateClose), unknown},
		{"once a listener, now connected", func() *kernel.Endpoint { e := boundTo(client(1)); e.Cloned = true; return e }(),
			asClient},
		{"accepted, and the port's bucket is one that connect() made",
			func() *kernel.Endpoint { e := server(1); e.BindByConnect = true; return e }(), asServer},
		{"waiting, from a listener without backlog", withoutSocket(unmarked(server(1))), asServer},
		{"an orphan without marks", orphaned(unmarked(client(1))), asClient},
	}
	for _, test := range tests {
		if got := NewLedger(0).Visit(elsewhere(test.end), testCaches()); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// Before Linux 6.18 a bucket that connect() made can become a listener's, and the socks in TIME_WAIT have no other mark.
func TestInTimeWaitAListenerTellsMoreThanTheBucket(t *testing.T) {
	e := inTimeWait(server(1))
	e.BindByConnect = true
	if got := visited(testCaches(), listener()).Visit(e, testCaches()); got != kernel.RoleServer {
		t.Errorf("%v, want server", got)
	}
}

func TestAClosedSocketHasTheRoleThatTheTraceSaw(t *testing.T) {
	l, e := NewLedger(0), inState(client(1), kernel.StateClose)
	l.Opened(kernel.EndpointEvent{Sock: e.Sock, Role: kernel.RoleClient})
	if got := l.Visit(e, testCaches()); got != kernel.RoleClient {
		t.Errorf("%v, want client", got)
	}
}
