package remote

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/remote/peer"
)

// quietServer is a server that does not listen; said is what it has said.
func quietServer(o ServeOptions) (s *server, said *[]string) {
	said = &[]string{}
	o.Said = func(line string) { *said = append(*said, line) }
	return &server{options: &o, control: netip.MustParseAddrPort("127.0.0.1:20000"), sessions: map[int]*promise{}}, said
}

func TestStrangersCannotMakeTheServerTalk(t *testing.T) {
	s, said := quietServer(ServeOptions{})
	for range 1000 {
		s.sayStranger("a stranger")
	}
	s.said = time.Now().Add(-2 * sayEvery)
	s.sayStranger("another")
	// A machine that stops for a second between two of the thousand lets one more through.
	if n := len(*said); n < 2 || n > 10 || !strings.Contains((*said)[n-1], "another (and ") {
		t.Errorf("the server said %d lines: %.10q", n, *said)
	}
}

func TestPromisesAreKept(t *testing.T) {
	on := netip.MustParseAddr("127.0.0.1")
	plan := func(conns, ports int, exact bool) *peer.Request {
		return &peer.Request{Clients: []netip.Addr{netip.MustParseAddr("127.0.0.9")}, Connections: conns, Ports: ports, Exact: exact,
			Scenario: "idle"}
	}
	s, _ := quietServer(ServeOptions{Ports: 5, Conns: 100})
	session := func() int { n, _ := s.begin(); return n }
	first, others, err := s.promise(session(), plan(60, 2, true), on)
	if err != nil || others != 0 || first.conns != 60 || first.firstPort != 20001 {
		t.Fatalf("the first is promised %+v beside %d: %v", first, others, err)
	}
	second, others, err := s.promise(session(), plan(60, 2, false), on)
	if err != nil || others != 60 || second.conns != 40 || second.firstPort != 20003 {
		t.Fatalf("the second is promised %+v beside %d: %v", second, others, err)
	}
	for says, p := range map[string]*peer.Request{"--conns": plan(1, 1, false), "more than the 0": plan(1, 1, true)} {
		if got, _, err := s.promise(session(), p, on); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("where nothing is left %+v is promised: %v", got, err)
		}
	}
	if _, err := s.begin(); err == nil || !strings.Contains(err.Error(), "sessions already") {
		t.Errorf("there are more than %d sessions: %v", maxSessions, err)
	}
	ending := &server{closing: true}
	if _, err := ending.begin(); err == nil || !strings.Contains(err.Error(), "ending") {
		t.Errorf("a session begins when the server ends: %v", err)
	}
	s.options.Conns = 0
	if _, _, err := s.promise(3, plan(1, 2, true), on); err == nil || !strings.Contains(err.Error(), "no 2 consecutive") {
		t.Errorf("two ports of one that is left: %v", err)
	}
	if got, _, err := s.promise(3, plan(1, 1, true), on); err != nil || got.firstPort != 20005 {
		t.Errorf("the last port is not promised: %+v, %v", got, err)
	}
}

func TestAPortThatSomebodyHasIsNotPromised(t *testing.T) {
	// Below the ports that the kernel gives to clients: once it is free, no other program's connection takes it.
	var l net.Listener
	err := errors.New("none is tried")
	for port := 21_000; err != nil && port < 22_000; port++ {
		l, err = net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).AddrPort()
	s, _ := quietServer(ServeOptions{Ports: 1})
	s.control = netip.AddrPortFrom(taken.Addr(), taken.Port()-1)
	if first, err := s.freePorts(1, taken.Addr()); err == nil {
		t.Errorf("port %d is promised, and another program listens on it", first)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if first, err := s.freePorts(1, taken.Addr()); err != nil || first != int(taken.Port()) {
		t.Errorf("port %d is free and not promised: %d, %v", taken.Port(), first, err)
	}
}

func TestAServerWithoutRoomForItsPortsSaysSo(t *testing.T) {
	err := Serve(t.Context(), ServeOptions{Token: peer.NewToken(), Listen: "127.0.0.1:65500", Ports: 100})
	if err == nil || !strings.Contains(err.Error(), "100 data ports do not fit above control port 65500") {
		t.Errorf("it serves: %v", err)
	}
}

func TestNamesOfManyThings(t *testing.T) {
	a := netip.MustParseAddr
	for got, want := range map[string]string{
		portsText([]uint16{8091}): "8091", portsText([]uint16{8091, 8092, 8093}): "8091-8093",
		addressesText([]netip.Addr{a("10.0.0.1")}):                "10.0.0.1",
		addressesText([]netip.Addr{a("10.0.0.1"), a("10.0.0.2")}): "10.0.0.1 and 1 more",
		counted(1, "address"):                                     "1 address", counted(20, "address"): "20 addresses",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if text := fmt.Sprint(plainDial(&net.OpError{Op: "dial", Err: timeout{}})); text != "no answer within 10s" {
		t.Error(text)
	}
}

type timeout struct{}

func (timeout) Error() string { return "i/o timeout" }
func (timeout) Timeout() bool { return true }
