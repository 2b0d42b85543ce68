package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/netcfg"
)

// private makes a network namespace for the length of a test.
func private(t testing.TB) *netcfg.Private {
	t.Helper()
	n, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// in runs f in the namespace.
func in(t testing.TB, n *netcfg.Private, f func() error) {
	t.Helper()
	if err := n.Do(f); err != nil {
		t.Fatal(err)
	}
}

func tcpSocket() (int, error) {
	return unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}

func at(port int) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}
}

// listenOn opens a listener on 127.0.0.1.
func listenOn(port int) (int, error) {
	fd, err := tcpSocket()
	if err != nil {
		return -1, err
	}
	return fd, errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, at(port)),
		unix.Listen(fd, 16))
}

// pair opens a connection to a listener, whose own end the options prepare, and accepts it.
func pair(listener, port int, prepare func(client int) error) (client, server int, err error) {
	if client, err = tcpSocket(); err != nil {
		return -1, -1, err
	}
	if err := errors.Join(prepare(client), unix.Connect(client, at(port))); err != nil {
		return -1, -1, err
	}
	server, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
	return client, server, err
}

func localPort(t *testing.T, fd int) uint16 {
	t.Helper()
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(name.(*unix.SockaddrInet4).Port)
}

// endpoints walks the namespace.
func endpoints(t *testing.T, p *Probes, n *netcfg.Private) (list []kernel.Endpoint) {
	t.Helper()
	if err := p.Walk(func(e *kernel.Endpoint) error { list = append(list, *e); return nil }, n); err != nil {
		t.Fatal(err)
	}
	return list
}

// find is the one endpoint with these ports.
func find(t *testing.T, list []kernel.Endpoint, local, remote uint16) kernel.Endpoint {
	t.Helper()
	var found []kernel.Endpoint
	for _, e := range list {
		if e.Local.Port() == local && e.Remote.Port() == remote {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d endpoints from port %d to %d among %d", len(found), local, remote, len(list))
	}
	return found[0]
}

type origin struct{ locked, byConnect, cloned, dead, unaccepted, file bool }

func originOf(e kernel.Endpoint) origin {
	return origin{e.BindLocked, e.BindByConnect, e.Cloned, e.Dead, e.Unaccepted(), e.File != 0}
}

func TestAClientShowsHowItCameByItsPort(t *testing.T) {
	p, n := load(t, Config{}), private(t)
	const server = 8090
	address := netip.MustParseAddr("127.0.0.1").As4()
	clients := map[string]struct {
		prepare func(fd int) error
		want    origin
	}{
		"connect() alone":       {func(int) error { return nil }, origin{byConnect: true, file: true}},
		"bind() to port 0":      {func(fd int) error { return unix.Bind(fd, at(0)) }, origin{file: true}},
		"bind() to a port":      {func(fd int) error { return unix.Bind(fd, at(5000)) }, origin{locked: true, file: true}},
		"bind() to the address": {bindAddressAlone(address), origin{byConnect: true, file: true}},
	}
	var listener int
	in(t, n, func() (err error) { listener, err = listenOn(server); return err })
	for name, c := range clients {
		var fd, accepted int
		in(t, n, func() (err error) { fd, accepted, err = pair(listener, server, c.prepare); return err })
		port := localPort(t, fd)
		list := endpoints(t, p, n)
		if got := originOf(find(t, list, port, server)); got != c.want {
			t.Errorf("%s: the client is %+v, want %+v", name, got, c.want)
		}
		if got, want := originOf(find(t, list, server, port)), (origin{cloned: true, file: true}); got != want {
			t.Errorf("%s: the accepted end is %+v, want %+v", name, got, want)
		}
		unix.Close(accepted) // it is the first to close, so that TIME_WAIT is at its end
		unix.Close(fd)
	}
	unix.Close(listener)
}

func bindAddressAlone(address [4]byte) func(fd int) error {
	return func(fd int) error {
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
			unix.Bind(fd, &unix.SockaddrInet4{Addr: address}))
	}
}

func TestAnAcceptedEndIsToldFromAClientWhenItsListenerIsGone(t *testing.T) {
	p, n := load(t, Config{}), private(t)
	const server = 8090
	var client, accepted int
	in(t, n, func() error {
		listener, err := listenOn(server)
		if err != nil {
			return err
		}
		client, accepted, err = pair(listener, server, func(int) error { return nil })
		return errors.Join(err, unix.Close(listener))
	})
	defer unix.Close(accepted)
	defer unix.Close(client)
	list := endpoints(t, p, n)
	if len(list) != 2 {
		t.Errorf("%d endpoints, want the two ends", len(list))
	}
	port := localPort(t, client)
	if got, want := originOf(find(t, list, server, port)), (origin{cloned: true, file: true}); got != want {
		t.Errorf("the accepted end is %+v, want %+v", got, want)
	}
	if got, want := originOf(find(t, list, port, server)), (origin{byConnect: true, file: true}); got != want {
		t.Errorf("the client is %+v, want %+v", got, want)
	}
}

func TestAnOrphanIsToldFromAnEndThatWaitsToBeAccepted(t *testing.T) {
	p, n := load(t, Config{}), private(t)
	const server = 8090
	var listener, client int
	in(t, n, func() (err error) {
		if listener, err = listenOn(server); err != nil {
			return err
		}
		if client, err = tcpSocket(); err != nil {
			return err
		}
		return unix.Connect(client, at(server))
	})
	defer unix.Close(listener)
	port := localPort(t, client)
	waiting := originOf(find(t, endpoints(t, p, n), server, port))
	if want := (origin{cloned: true, unaccepted: true}); waiting != want {
		t.Errorf("in the accept queue: %+v, want %+v", waiting, want)
	}
	accepted, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(accepted)
	fillUp(t, client) // so that its FIN cannot get through: it is an orphan for as long as the other end does not read
	unix.Close(client)
	if got, want := originOf(find(t, endpoints(t, p, n), port, server)), (origin{byConnect: true, dead: true}); got != want {
		t.Errorf("the orphan is %+v, want %+v", got, want)
	}
}

// fillUp writes to a socket until it takes no more.
func fillUp(t *testing.T, fd int) {
	t.Helper()
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 64<<10); ; {
		if _, err := unix.Write(fd, b); errors.Is(err, unix.EAGAIN) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnEndpointCarriesItsNamespaceAndItsFile(t *testing.T) {
	p := load(t, Config{})
	files := map[uint64]string{}
	for i := range 2 {
		n := private(t)
		var listener, client, server int
		in(t, n, func() (err error) {
			if listener, err = listenOn(8090); err == nil {
				client, server, err = pair(listener, 8090, func(int) error { return nil })
			}
			return err
		})
		for _, e := range endpoints(t, p, n) {
			if e.Netns != n.Inode() {
				t.Errorf("%v is in namespace %d, want %d", e.Local, e.Netns, n.Inode())
			}
			what := fmt.Sprintf("%v in namespace %d", e.Local, i)
			if e.File == 0 || files[e.File] != "" {
				t.Errorf("%s has file %#x, as has %q", what, e.File, files[e.File])
			}
			files[e.File] = what
		}
		for _, fd := range []int{listener, client, server} {
			defer unix.Close(fd)
		}
	}
	if len(files) != 6 {
		t.Errorf("%d files of 6 sockets", len(files))
	}
}
