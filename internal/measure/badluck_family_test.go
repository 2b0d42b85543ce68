package measure

import (
	"errors"
	"maps"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// mapped4 is the IPv4 loopback address as an IPv6 socket writes it.
var mapped4 = [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}

var loopback6 = [16]byte{15: 1}

// tcpSocks counts the tcp_socks of a row by cache.
func tcpSocks(rec *recording.Machine, role kernel.Role) map[string]int {
	counts := map[string]int{}
	for _, row := range rec.Endpoints {
		for _, o := range row.Objects {
			if row.Role == role && row.State == "ESTABLISHED" && o.Type == kernel.TCPSock.String() {
				counts[o.Cache] += o.Count
			}
		}
	}
	return counts
}

func (s *scene) wantSocks(rec *recording.Machine, role kernel.Role, want map[string]int) {
	s.t.Helper()
	if got := tcpSocks(rec, role); !maps.Equal(got, want) {
		s.t.Errorf("%ss have %v, want %v", role, got, want)
	}
}

// checkCalls wants n calls of connect where it has a hook of its own, and n SYNs in any case.
func (s *scene) checkCalls(n int) {
	s.t.Helper()
	counters, err := s.plain.probes.Counters()
	if err != nil {
		s.t.Fatal(err)
	}
	s.wantCalls(counters, n, n)
	if got := s.witness.opens[kernel.RoleClient]; got != n {
		s.t.Errorf("%d clients reported opened, want %d", got, n)
	}
}

// families are the ways in which the two ends of a connection can be of one family or of two.
var families = []struct {
	listener                 int // its family
	listen, connect          unix.Sockaddr
	clientCache, serverCache string
}{
	{unix.AF_INET6, &unix.SockaddrInet6{Port: 1001}, &unix.SockaddrInet6{Port: 1001, Addr: loopback6}, "TCPv6", "TCPv6"},
	{unix.AF_INET, &unix.SockaddrInet4{Port: 1002}, &unix.SockaddrInet6{Port: 1002, Addr: mapped4}, "TCPv6", "TCP"},
	{unix.AF_INET6, &unix.SockaddrInet6{Port: 1003}, &unix.SockaddrInet6{Port: 1003, Addr: mapped4}, "TCPv6", "TCPv6"},
	{unix.AF_INET6, &unix.SockaddrInet6{Port: 1004}, &unix.SockaddrInet4{Port: 1004, Addr: loopback4}, "TCP", "TCPv6"},
}

func TestEachFamilyIsCountedOnceAndInItsOwnCache(t *testing.T) {
	const n = 30
	all := n * len(families)
	onEveryRung(t, func(t *testing.T, s *scene) {
		clients, servers := map[string]int{}, map[string]int{}
		for _, f := range families {
			l := s.listenAt(f.listener, f.listen, n)
			l.at = f.connect
			s.open(l, n)
			clients[f.clientCache] += n
			servers[f.serverCache] += n
		}
		rec, _ := s.finish(0)
		s.wantRows(rec, map[string]int{"client ESTABLISHED": all, "server ESTABLISHED": all, "listener LISTEN": len(families)})
		s.wantSocks(rec, kernel.RoleClient, clients)
		s.wantSocks(rec, kernel.RoleServer, servers)
		s.checkCalls(all)
	})
}

// tcp_v6_connect() itself turns the unspecified address into the IPv4 loopback address where the socket is bound to
// an IPv4 address (052d2369d1b4), and then hands on to tcp_v4_connect().
func TestUnspecifiedAddressFromAMappedSourceIsOneConnect(t *testing.T) {
	const n = 10
	onEveryRung(t, func(t *testing.T, s *scene) {
		l := s.listen(n)
		for range n {
			fd := s.socket(unix.AF_INET6)
			if err := unix.Bind(fd, &unix.SockaddrInet6{Addr: mapped4}); err != nil {
				t.Fatal(err)
			}
			if err := unix.Connect(fd, &unix.SockaddrInet6{Port: listenPort}); err != nil {
				t.Fatal(err)
			}
			s.accept(l, 1)
		}
		rec, _ := s.finish(0)
		s.wantPairs(rec, n)
		s.checkCalls(n)
	})
}

// An IPv6 socket that connects over IPv4 and then waits in TIME_WAIT, beside one of either family.
func TestTimeWaitOfEachFamilyIsCountedOnce(t *testing.T) {
	const n = 20
	s := newScene(t)
	s.watch()
	l := s.listenAt(unix.AF_INET6, &unix.SockaddrInet6{Port: listenPort}, n)
	for _, at := range []unix.Sockaddr{&unix.SockaddrInet4{Port: listenPort, Addr: loopback4},
		&unix.SockaddrInet6{Port: listenPort, Addr: mapped4}, &unix.SockaddrInet6{Port: listenPort, Addr: loopback6}} {
		l.at = at
		clients, servers := s.open(l, n)
		s.close(clients...)
		s.await("CLOSE_WAIT", n)
		s.close(servers...)
		s.await("CLOSE_WAIT", 0)
	}
	s.await("TIME_WAIT", 3*n)
	rec, counters := s.finish(0)
	s.wantRows(rec, map[string]int{"client TIME_WAIT": 3 * n, "listener LISTEN": 1})
	s.wantObjects(rec, kernel.RoleClient, "TIME_WAIT", map[string]int{"tcp_timewait_sock": 3 * n, "tcp_sock": 0, "file": 0})
	s.wantGone(rec, counters, 6*n, 6*n)
}

// A socket that connects to itself is both ends in one. The trace has it as a client, and once its own SYN has come
// as a server.
func TestSocketConnectedToItselfIsOneEndpoint(t *testing.T) {
	s := newScene(t)
	s.reconnects = true
	s.watch()
	fd := s.socket(unix.AF_INET)
	if err := errors.Join(unix.Bind(fd, listening), unix.Connect(fd, listening)); err != nil {
		t.Fatal(err)
	}
	rec, _ := s.finish(0)
	if len(rec.Endpoints) != 1 || rec.Endpoints[0].Count != 1 {
		t.Errorf("rows %+v, want one endpoint", rec.Endpoints)
	}
	if opens := rec.Trace.ClientOpens + rec.Trace.ServerOpens; opens != 1 {
		t.Errorf("%d opens, want 1", opens)
	}
}
