package leaks

import (
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// server accepts, and closes what its client has closed.
type server struct {
	net.Listener
	accepted, closed atomic.Int64
}

// newServer listens on the loopback interface, in a place that do leads to.
func newServer(t *testing.T, do func(func() error) error) *server {
	t.Helper()
	s := &server{}
	err := do(func() (err error) {
		s.Listener, err = net.Listen("tcp4", "127.0.0.1:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
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

// saw waits until so many connections have come, and so many have gone.
func (s *server) saw(t *testing.T, accepted, closed int) {
	t.Helper()
	eventually(t, "the server has seen all that the program did", func() bool {
		return s.accepted.Load() == int64(accepted) && s.closed.Load() == int64(closed)
	})
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
