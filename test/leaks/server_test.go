package leaks

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/connprof/connprof/internal/kernel"
)

// server accepts, and closes what its client has closed.
type server struct {
	net.Listener
	do               func(func() error) error // leads to its network
	accepted, closed atomic.Int64
}

// newServer listens on the loopback interface, in a place that do leads to.
func newServer(t *testing.T, do func(func() error) error) *server {
	t.Helper()
	s := &server{do: do}
	err := do(func() (err error) {
		s.Listener, err = net.Listen("tcp4", "127.0.0.1:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	ports.Store(s.Addr().(*net.TCPAddr).Port, nil)
	return s
}

// ports are those of all servers of the tests.
var ports sync.Map

// closing are the states of what its process has closed and the kernel still holds. In FIN_WAIT2 it is a timewait sock by then.
var closing = []string{"FIN_WAIT1", "CLOSING", "LAST_ACK"}

// atRest waits until the kernel has closed what was closed to the servers: on a busy host that takes a while, and until then it is
// as open as any other.
func atRest(t *testing.T) {
	t.Helper()
	fs, err := procfs.NewFS("/proc/thread-self")
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		lines, err := fs.NetTCP()
		if err != nil {
			t.Fatal(err)
		}
		open := 0
		for _, l := range lines {
			if _, ours := ports.Load(int(l.RemPort)); ours && slices.Contains(closing, kernel.State(l.St).String()) && l.Inode == 0 {
				open++
			}
		}
		if open == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d clients are not closed in %v", open, limit)
		}
	}
}

func here(f func() error) error { return f() }

// serve accepts until the listener is closed. Each connection is handled, then waits for its client's end.
func (s *server) serve(handle func(net.Conn)) *server {
	go func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			s.accepted.Add(1)
			go func() {
				handle(c)
				_, _ = io.Copy(io.Discard, c)
				c.Close()
				s.closed.Add(1)
			}()
		}
	}()
	return s
}

func silent(net.Conn) {}

func (s *server) port() string { return strconv.Itoa(s.Addr().(*net.TCPAddr).Port) }

// saw waits until so many connections have come, and so many have gone: the clients' ends as well, which know by the server.
func (s *server) saw(t *testing.T, accepted, closed int) {
	t.Helper()
	eventually(t, "the server has seen all that the program did", func() bool {
		return s.accepted.Load() == int64(accepted) && s.closed.Load() == int64(closed)
	})
	eventually(t, "the clients' ends are gone", func() bool { return s.leaving(t) == 0 })
}

// leaving counts the clients' ends that are neither up nor gone.
func (s *server) leaving(t *testing.T) (n int) {
	t.Helper()
	var text []byte
	err := s.do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/tcp")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	to := fmt.Sprintf(":%04X", s.Addr().(*net.TCPAddr).Port)
	const established, timeWait = "01", "06"
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[2], to) && f[3] != established && f[3] != timeWait {
			n++
		}
	}
	return n
}

// eventually waits for what must come.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in %v: %s", limit, what)
		}
	}
}
