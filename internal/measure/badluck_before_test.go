package measure

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/test/check"
)

func TestConnectionsFromBeforeTheTraceAreCountedOnce(t *testing.T) {
	const n = 50
	s := newScene(t)
	l := s.listen(n)
	s.open(l, n)
	s.watch()
	rec, counters := s.finish(2 * n)
	s.wantRows(rec, map[string]int{"client ESTABLISHED": n, "server ESTABLISHED": n, "listener LISTEN": 1})
	s.wantObjects(rec, kernel.RoleClient, "ESTABLISHED", whole(n))
	s.wantObjects(rec, kernel.RoleServer, "ESTABLISHED", whole(n))
	if counters.StateChanges+counters.ConnectCalls+counters.Accepts != 0 || rec.Trace.ClientOpens+rec.Trace.ServerOpens != 0 {
		t.Errorf("the trace saw %+v of connections from before it", counters)
	}
	for _, e := range s.ends() {
		if e.openedAt != "" || e.pid != "0" {
			t.Errorf("%+v: the trace cannot know when and by whom it was opened", e)
		}
	}
}

func TestConnectionsFromBeforeTheTraceMayCloseInIt(t *testing.T) {
	const old, fresh = 60, 40
	s := newScene(t)
	l := s.listen(old)
	clients, servers := s.open(l, old)
	s.watch()
	s.open(l, fresh)
	s.close(clients...)
	s.await("CLOSE_WAIT", old)
	s.close(servers...)
	s.await("TIME_WAIT", old)
	rec, counters := s.finish(0)
	s.wantRows(rec, map[string]int{"client ESTABLISHED": fresh, "server ESTABLISHED": fresh, "listener LISTEN": 1,
		"client TIME_WAIT": old})
	s.wantGone(rec, counters, 2*old, 0)
	if rec.Trace.ClientOpens != fresh || rec.Trace.ServerOpens != fresh {
		t.Errorf("%d and %d opens, want %d", rec.Trace.ClientOpens, rec.Trace.ServerOpens, fresh)
	}
}

// The trace hears of such a socket for the first time when it is accepted.
func TestConnectionsFromBeforeTheTraceMayBeAcceptedInIt(t *testing.T) {
	const n, closed = 40, 15
	s := newScene(t)
	l := s.listen(n)
	clients := s.connect(l.at, n)
	s.await("ESTABLISHED", 2*n)
	s.watch()
	servers := s.accept(l, n)
	s.close(servers[:closed]...)
	s.await("FIN_WAIT2", closed)
	s.close(clients[:closed]...)
	s.await("TIME_WAIT", closed)
	known := 0
	if s.hooked(kernel.HookAccept) {
		known = n - closed
	}
	rec, counters := s.finish(2*(n-closed) - known)
	s.wantRows(rec, map[string]int{"client ESTABLISHED": n - closed, "server ESTABLISHED": n - closed,
		"listener LISTEN": 1, "server TIME_WAIT": closed})
	s.wantObjects(rec, kernel.RoleServer, "ESTABLISHED", whole(n-closed))
	if s.hooked(kernel.HookAccept) && !check.Short(int(counters.Accepts), n, s.skipped(counters)) {
		t.Errorf("%d accepts, want %d", counters.Accepts, n)
	}
}

// A listener's port at one address may be a client's at another. Without a trace only the addresses tell them apart.
func TestListenersTakeTheirOwnAddressAlone(t *testing.T) {
	const n = 5
	other := &unix.SockaddrInet4{Port: listenPort + 1, Addr: loopback4}
	source := &unix.SockaddrInet4{Port: listenPort, Addr: [4]byte{127, 0, 0, 2}}
	for _, c := range []struct {
		name    string
		family  int
		at, to  unix.Sockaddr
		v6Only  bool
		mayBind bool // a client may have the port at another address
	}{
		{"IPv4 address", unix.AF_INET, listening, listening, false, true},
		{"IPv4 address of an IPv6 socket", unix.AF_INET6, &unix.SockaddrInet6{Port: listenPort, Addr: mapped4}, listening,
			false, true},
		{"all IPv4 addresses", unix.AF_INET, &unix.SockaddrInet4{Port: listenPort}, listening, false, false},
		{"all addresses", unix.AF_INET6, &unix.SockaddrInet6{Port: listenPort}, listening, false, false},
		{"all IPv6 addresses", unix.AF_INET6, &unix.SockaddrInet6{Port: listenPort},
			&unix.SockaddrInet6{Port: listenPort, Addr: loopback6}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			fd := s.socket(c.family)
			if c.v6Only {
				s.setOption(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
			}
			if err := errors.Join(unix.Bind(fd, c.at), unix.Listen(fd, n)); err != nil {
				t.Fatal(err)
			}
			s.open(listener{fd: fd, at: c.to}, n)
			pairs, listeners := n, 1
			if c.mayBind {
				l, client := s.listenAt(unix.AF_INET, other, n), s.socket(unix.AF_INET)
				if err := errors.Join(unix.Bind(client, source), unix.Connect(client, other)); err != nil {
					t.Fatal(err)
				}
				s.accept(l, 1)
				pairs, listeners = pairs+1, listeners+1
			}
			s.watch()
			rec, _ := s.finish(2 * pairs)
			s.wantRows(rec, map[string]int{"client ESTABLISHED": pairs, "server ESTABLISHED": pairs,
				"listener LISTEN": listeners})
		})
	}
}

// The client's SYN is on its way when the trace begins, and the handshake completes in it.
func TestHandshakesMayBeginBeforeTheTrace(t *testing.T) {
	const waiting, queued = 3, 4
	s := newScene(t)
	l := s.listen(waiting)
	s.connect(l.at, queued) // takes all places there are
	s.start("hang 3", s.network.Start)
	s.await("SYN_SENT", waiting)
	s.watch()
	s.accept(l, queued+waiting) // a SYN without an answer is sent again after 1 s
	s.await("SYN_SENT", 0)
	untraced := 2*queued + waiting
	if s.hooked(kernel.HookAccept) {
		untraced -= queued // accepted in the trace
	}
	rec, counters := s.finish(untraced)
	s.wantRows(rec, map[string]int{"client ESTABLISHED": queued + waiting, "server ESTABLISHED": queued + waiting,
		"listener LISTEN": 1})
	s.wantUp(counters, waiting, waiting)
	if counters.SynSent != 0 {
		t.Errorf("%d connects, want none", counters.SynSent)
	}
}

// A socket that was closed and is connected again is the same endpoint.
func TestSocketsMayConnectAgain(t *testing.T) {
	const n, times = 10, 4
	s := newScene(t)
	l := s.listen(n)
	s.reconnects = true
	s.watch()
	clients, servers := s.open(l, n)
	for range times - 1 {
		for _, fd := range clients {
			s.disconnect(fd)
		}
		s.close(servers...)
		for _, fd := range clients {
			if err := unix.Connect(fd, l.at); err != nil {
				t.Fatal(err)
			}
		}
		servers = s.accept(l, n)
	}
	rec, counters := s.finish(0)
	s.wantRows(rec, map[string]int{"client ESTABLISHED": n, "server ESTABLISHED": n, "listener LISTEN": 1})
	s.wantObjects(rec, kernel.RoleClient, "ESTABLISHED", whole(n))
	s.wantUp(counters, n*times, n*times)
	s.wantGone(rec, counters, n*(times-1), n*(times-1))
}

// Where there is no listener, the kernel's iterator passes over the first bucket of established sockets on Linux 5.15 to 6.16.
func TestAWalkNeedsNoListener(t *testing.T) {
	const n = 1900 // in a hash of 1,024 buckets: hardly one is empty
	s := newSceneFor(t, 1024)
	s.watch()
	l := s.listen(n)
	s.open(l, n)
	s.close(l.fd)
	rec, _ := s.finish(0)
	s.wantRows(rec, map[string]int{"client ESTABLISHED": n, "server ESTABLISHED": n})
}
