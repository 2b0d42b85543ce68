package load

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
)

func TestListsOfPorts(t *testing.T) {
	for list, want := range map[string][]int{"": nil, "8080": {8080}, "1,65535": {1, 65535},
		"9000-9003,80": {80, 9000, 9001, 9002, 9003}, "5-5": {5}, "7-6": nil} {
		got, err := parsePorts(list)
		if err != nil {
			t.Errorf("%q: %v", list, err)
		}
		for p := range got {
			if !slices.Contains(want, p) {
				t.Errorf("%q has port %d", list, p)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%q has %d ports, want %d", list, len(got), len(want))
		}
	}
	for _, list := range []string{"x", "1-", "-1", "65536", "1-70000", "1 2", "1-2-3"} {
		if got, err := parsePorts(list); err == nil || !strings.Contains(err.Error(), "ip_local_reserved_ports") {
			t.Errorf("%q was taken for %v: %v", list, got, err)
		}
	}
}

// elsewhere runs f in a network namespace of its own.
func elsewhere(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	// The thread stays locked, and ends with the function, and the namespace with it. It must not be the process's first,
	// whose namespace is what /proc/net shows.
	go offMainThread(func() {
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	})
	if err := <-done; err != nil {
		t.Fatalf("make a network namespace: %v (run as root)", err)
	}
}

func TestHostPortsAreThoseThatTheHostGivesAway(t *testing.T) {
	for _, c := range []struct {
		sysctls map[string]string
		want    []uint16
	}{
		{map[string]string{"ip_local_port_range": "40000 40004"}, []uint16{40000, 40001, 40002, 40003, 40004}},
		{map[string]string{"ip_local_port_range": "40000 40004", "ip_local_reserved_ports": "39999,40001,40003-40010"},
			[]uint16{40000, 40002}},
		{map[string]string{"ip_local_port_range": "65534 65535", "ip_local_reserved_ports": "1-65533"}, []uint16{65534, 65535}},
		{map[string]string{"ip_local_port_range": "40000 40001", "ip_local_reserved_ports": "40000-40001"}, nil},
	} {
		elsewhere(t, func() {
			for name, value := range c.sysctls {
				if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
					t.Error(err)
				}
			}
			if got, err := HostPorts(); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("with %v the ports are %v, want %v: %v", c.sysctls, got, c.want, err)
			}
		})
	}
}

func TestSparesAreThePortsThatThePlanLeaves(t *testing.T) {
	p := tuples{addresses: 2, ports: 3, local: []uint16{10, 11, 12, 13}}
	for connections, want := range map[int][]uint16{1: {11, 12, 13}, 6: {11, 12, 13}, 7: {12, 13}, 23: nil, 24: nil} {
		s := &spares{ports: p.sparePorts(connections)}
		var got []uint16
		for port, ok := s.take(); ok; port, ok = s.take() {
			got = append(got, port)
		}
		if !slices.Equal(got, want) {
			t.Errorf("with %d connections the spares are %v, want %v", connections, got, want)
		}
		if _, ok := s.take(); ok {
			t.Error("a spare was given out twice")
		}
	}
}

func TestPortsThatTheHostUsesComeLast(t *testing.T) {
	elsewhere(t, func() {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40005"), 0); err != nil {
			t.Error(err)
		}
		// A listener of each family, and both ends of a connection that is closed.
		lo, err := netlink.LinkByName("lo")
		if err != nil || netlink.LinkSetUp(lo) != nil {
			t.Errorf("set lo up: %v", err)
		}
		listener, err := net.Listen("tcp4", "127.0.0.1:40001")
		if err != nil {
			t.Error(err)
			return
		}
		defer listener.Close()
		listener6, err := net.Listen("tcp6", "[::1]:40003")
		if err != nil {
			t.Error(err)
			return
		}
		defer listener6.Close()
		near, err := net.DialTCP("tcp4", &net.TCPAddr{Port: 40004}, listener.Addr().(*net.TCPAddr))
		if err != nil {
			t.Error(err)
			return
		}
		near.Close() // first, so that this end stays in TIME_WAIT
		if far, err := listener.Accept(); err != nil || far.Close() != nil {
			t.Error(err)
		}
		want := []uint16{40000, 40002, 40005, 40001, 40003, 40004}
		if p, err := clientTuples(Config{End: kernel.RoleClient, Clients: addresses(1), Ports: ports(1)}); err != nil ||
			!slices.Equal(p.local, want) {
			t.Errorf("the tuples take %v, want %v: %v", p.local, want, err)
		}
	})
}

// apart are the two ends of a load as two machines have them: each in an engine of its own, which is told of the other.
func apart(t *testing.T, connections int, clients ...string) (client, server *Engine) {
	t.Helper()
	c := testConfig(t, 1, connections)
	c.Clients = parsed(clients...)
	c.End = kernel.RoleServer
	server = start(t, c)
	c.End = kernel.RoleClient
	client = start(t, c)
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				client.Tell(server.Progress())
				server.Tell(client.Progress())
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
	return client, server
}

func TestEndsApartComeTogether(t *testing.T) {
	client, server := apart(t, 3000, "127.1.0.1", "127.1.0.2", "127.1.0.3")
	if err := errors.Join(server.Begin(), client.Begin()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, client, "the client's end", allUp(3000))
	waitFor(t, server, "the server's end", allUp(3000))
	if n := server.Strangers(); n != 0 {
		t.Errorf("%d strangers", n)
	}
}

// The load is told of closes while it is stopped: however late it runs, Progress has what Settle has waited for.
func TestSettledProgressHasWhatTheKernelHadTold(t *testing.T) {
	const conns, lost = 50, 3
	c := testConfig(t, 1, conns)
	c.Clients, c.End = parsed("127.1.0.1"), kernel.RoleServer
	e := start(t, c)
	if err := e.Begin(); err != nil {
		t.Fatal(err)
	}
	var clients []net.Conn
	for range conns {
		client, err := net.DialTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 1, 0, 1)}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(c.Ports[0])})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		clients = append(clients, client)
	}
	e.Tell(Progress{Attempted: conns, Established: conns})
	waitFor(t, e, "all accepted", allUp(conns))
	settled := func(want int) {
		t.Helper()
		done := make(chan error)
		go func() { done <- e.Settle(time.Minute) }()
		_, server := e.PIDs()
		if err := errors.Join(unix.Kill(server, unix.SIGCONT), <-done); err != nil {
			t.Fatal(err)
		}
		if p := e.Progress(); p.Lost != want {
			t.Errorf("%d lost, want %d", p.Lost, want)
		}
	}
	settled(0)
	if _, server := e.PIDs(); unix.Kill(server, unix.SIGSTOP) != nil {
		t.Fatal("the server cannot be stopped")
	}
	for _, client := range clients[:lost] {
		client.Close()
	}
	settled(lost)
}

func TestAPortInUseIsReplacedByASpare(t *testing.T) {
	ports, err := HostPorts()
	if err != nil {
		t.Fatal(err)
	}
	// Bound without SO_REUSEADDR, the first of the ports is nobody else's; and bound only, it is in no list of sockets.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	at := &unix.SockaddrInet4{Port: int(ports[0]), Addr: [4]byte{127, 1, 0, 1}}
	if err := unix.Bind(fd, at); err != nil {
		t.Fatal(err)
	}
	client, server := apart(t, 100, "127.1.0.1")
	if err := errors.Join(server.Begin(), client.Begin()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, client, "all", allUp(100))
	if n := client.PortsInUse(); n < 1 {
		t.Errorf("%d ports in use were met, want the one that is", n)
	}
}

// The second look at an accepted connection does not rely on the filter.
func TestTheGateAdmitsTheAnnouncedOnly(t *testing.T) {
	g := newGate(Config{End: kernel.RoleServer, Clients: parsed("127.1.0.1")})
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(l)
	everybody := &gate{listeners: gateFilter(parsed("127.1.0.1", "127.1.0.2"))}
	port := freePort(t)
	if err := errors.Join(unix.Bind(l, &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}), everybody.guard(l),
		unix.Listen(l, 10)); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]bool{"127.1.0.1": true, "127.1.0.2": false} {
		c, err := net.DialTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)),
			&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fd, e := accept(l, 0)
		if e != 0 {
			t.Fatal(e)
		}
		defer unix.Close(fd)
		if filtered(t, fd) == 0 {
			t.Error("an accepted connection does not inherit the filter: nothing need be taken off")
		}
		if got := g.admits(fd); got != want {
			t.Errorf("%s is admitted: %v", from, got)
		}
		if want && filtered(t, fd) != 0 {
			t.Error("an admitted connection keeps the filter, and is charged for it")
		}
		linger, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER)
		if err != nil || linger.Onoff != 1 || linger.Linger != 0 {
			t.Errorf("an accepted connection does not end by a reset: %+v, %v", linger, err)
		}
	}
}

// filtered is how many instructions a socket's filter has (SO_GET_FILTER).
func filtered(t *testing.T, fd int) int {
	t.Helper()
	var size uint32
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_GET_FILTER, 0,
		uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		t.Fatal(e)
	}
	return int(size)
}
