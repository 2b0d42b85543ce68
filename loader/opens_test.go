package loader

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/netcfg"
)

// scene is connections of each fate, in a namespace.
type scene struct {
	*netcfg.Private
	fds []int
}

func (s *scene) keep(fd int, err error) (int, error) {
	if err == nil {
		s.fds = append(s.fds, fd)
	}
	return fd, err
}

func (s *scene) client(t *testing.T) int {
	t.Helper()
	fd, err := s.keep(tcpSocket())
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

const (
	sceneOpen, sceneClosed, sceneQueued          = 7, 5, 3
	sceneRefused, sceneUnconnected, sceneGivenUp = 4, 6, 2
	scenePort, sceneClosedPort, sceneFullPort    = 8090, 8091, 8092
	sceneNoPort                                  = 1
)

// loadOpens starts to count.
func loadOpens(t *testing.T, s *scene, o Opens) *Probes {
	t.Helper()
	p := load(t, Config{Hooks: WalkOnly, Opens: &o, Scope: InNetns(s.Inode())})
	if err := p.StartOpens(); err != nil {
		t.Fatal(err)
	}
	return p
}

// play opens and closes as the constants say.
func (s *scene) play(t *testing.T) {
	t.Helper()
	in(t, s.Private, func() error {
		listener, err := s.keep(listenOn(scenePort))
		if err != nil {
			return err
		}
		for i := range sceneOpen + sceneClosed {
			client, server, err := pair(listener, scenePort, func(int) error { return nil })
			if err != nil {
				return err
			}
			if i < sceneOpen {
				s.fds = append(s.fds, client, server)
				continue
			}
			reset := unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			if err := errors.Join(reset, unix.Close(client), unix.Close(server)); err != nil {
				return err
			}
		}
		for range sceneQueued {
			if err := unix.Connect(s.client(t), at(scenePort)); err != nil {
				return err
			}
		}
		return s.fail(t)
	})
}

// fail makes the connections that do not come up.
func (s *scene) fail(t *testing.T) error {
	for range sceneRefused {
		fd, err := tcpSocket()
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, at(sceneClosedPort)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("a closed port answers with %v", err)
		}
		unix.Close(fd)
	}
	for range sceneUnconnected {
		fd, err := tcpSocket()
		if err != nil {
			return err
		}
		unix.Close(fd)
	}
	return errors.Join(s.noPort(t), s.giveUp(t))
}

// noPort connects from a port that has that connection already.
func (s *scene) noPort(t *testing.T) error {
	for i := range 2 {
		fd := s.client(t)
		if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, at(5001))); err != nil {
			return err
		}
		if err := unix.Connect(fd, at(scenePort)); i == 0 && err != nil || i == 1 && !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("connect() number %d from one port to one port: %v", i+1, err)
		}
	}
	return nil
}

// giveUp closes clients whose SYN a listener with a full queue has not answered.
func (s *scene) giveUp(t *testing.T) error {
	listener := s.client(t)
	if err := errors.Join(unix.Bind(listener, at(sceneFullPort)), unix.Listen(listener, 0)); err != nil {
		return err
	}
	if err := unix.Connect(s.client(t), at(sceneFullPort)); err != nil { // a backlog of 0 takes one
		return err
	}
	for range sceneGivenUp {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, at(sceneFullPort)); !errors.Is(err, unix.EINPROGRESS) {
			t.Errorf("connect() to a full queue: %v", err)
		}
		unix.Close(fd)
	}
	return nil
}

func (s *scene) close() {
	for _, fd := range s.fds {
		unix.Close(fd)
	}
	s.fds = nil
}

// snmp is the namespace's own counters of TCP.
func snmp(t *testing.T, n *netcfg.Private) map[string]int {
	t.Helper()
	var text []byte
	in(t, n, func() (err error) { text, err = os.ReadFile("/proc/thread-self/net/snmp"); return err })
	counts, names := map[string]int{}, []string(nil)
	for _, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "Tcp:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i := 1; i < len(fields); i++ {
			counts[names[i]], _ = strconv.Atoi(fields[i])
		}
	}
	return counts
}

func TestOpensClosesAndFailuresAreCountedAsTheKernelDoes(t *testing.T) {
	s := &scene{Private: private(t)}
	defer s.close()
	p := loadOpens(t, s, Opens{})
	before := snmp(t, s.Private)
	s.play(t)
	after := snmp(t, s.Private)
	got, err := p.OpenCounters()
	if err != nil {
		t.Fatal(err)
	}
	grown := func(name string) int { return after[name] - before[name] }
	const up = sceneOpen + sceneClosed + sceneQueued + 1 + 1 // and the first of noPort and of giveUp
	clients := up + sceneRefused + sceneNoPort + sceneGivenUp
	if grown("ActiveOpens") != clients-sceneNoPort || grown("PassiveOpens") != up || grown("AttemptFails") != sceneRefused {
		t.Fatalf("the kernel counts %d active opens, %d passive ones, %d failures: the scene is another one", grown("ActiveOpens"),
			grown("PassiveOpens"), grown("AttemptFails"))
	}
	want := kernel.OpenCounters{Opened: uint64(clients + up), Closed: 2*sceneClosed + sceneRefused + sceneGivenUp,
		Failed: sceneRefused + sceneGivenUp, NeverConnected: sceneUnconnected}
	if got != want {
		t.Errorf("counted\n%+v, want\n%+v", got, want)
	}
	errs := map[string]int{}
	if err := p.Openers(func(_ kernel.OpenerID, c *kernel.OpenerCounts) {
		for e, n := range c.Errors {
			errs[kernel.OpenError(e).String()] += int(n)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := p.OpenSockets(func(_ uint64, o kernel.OpenSocket) { errs[o.Error.String()]++ }); err != nil {
		t.Fatal(err)
	}
	if errs["ECONNREFUSED"] != sceneRefused || errs["EADDRNOTAVAIL"] != sceneNoPort || errs["closed by the program"] != sceneGivenUp {
		t.Errorf("errors %v", errs)
	}
}

// Where accept() is watched, what it has handed out is the process's, and the rest the listener's.
func TestAcceptedConnectionsAreTheirProcess(t *testing.T) {
	s := &scene{Private: private(t)}
	defer s.close()
	p := loadOpens(t, s, Opens{AcceptStacks: true})
	s.play(t)
	opened := map[string]uint64{}
	if err := p.Openers(func(id kernel.OpenerID, c *kernel.OpenerCounts) {
		netns, port, listener := id.Listener()
		switch {
		case listener && netns == s.Inode():
			opened["at "+strconv.Itoa(int(port))] += c.Opened
		case id.Process() && c.PID == uint32(os.Getpid()):
			opened[c.Role.String()] += c.Opened
		case c.Opened > 0:
			t.Errorf("opener %#x: %+v", uint64(id), c)
		}
	}); err != nil {
		t.Fatal(err)
	}
	const accepted = sceneOpen + sceneClosed
	if opened["server"] != accepted || opened["at 8090"] != sceneQueued+1 || opened["at 8092"] != 1 {
		t.Errorf("%v by hook %+v, want %d accepted", opened, p.Hooks(), accepted)
	}
}

func TestWhatIsOpenedLateIsToldApart(t *testing.T) {
	s := &scene{Private: private(t)}
	defer s.close()
	p := loadOpens(t, s, Opens{})
	if err := p.EndOpens(); err != nil {
		t.Fatal(err)
	}
	s.play(t)
	got, err := p.OpenCounters()
	if err != nil {
		t.Fatal(err)
	}
	if got != (kernel.OpenCounters{}) {
		t.Errorf("counted %+v", got)
	}
	late := 0
	if err := p.OpenSockets(func(sock uint64, o kernel.OpenSocket) {
		if one, is := p.OpenSocket(sock); !o.Opener.Late() || !is || one != o {
			t.Errorf("%+v, asked for alone %+v %v", o, one, is)
		}
		late++
	}); err != nil {
		t.Fatal(err)
	}
	if late < 2*sceneOpen+2*sceneQueued {
		t.Errorf("%d connections", late)
	}
}

// A full map loses connections, and says how many.
func TestAFullMapOfOpenConnectionsIsALoss(t *testing.T) {
	s := &scene{Private: private(t)}
	defer s.close()
	p := loadOpens(t, s, Opens{Sockets: 4})
	s.play(t)
	got, err := p.OpenCounters()
	if err != nil {
		t.Fatal(err)
	}
	if got.MapFull == 0 || got.Opened <= got.MapFull {
		t.Errorf("%+v", got)
	}
}

// Stacks are copied as long as there is leave, and recognised once they are learned.
func TestStacksAreCopiedUntilTheyAreLearned(t *testing.T) {
	s := &scene{Private: private(t)}
	defer s.close()
	p := loadOpens(t, s, Opens{Stacks: true})
	if err := p.AllowCopies(1000); err != nil {
		t.Fatal(err)
	}
	const path = 77
	copies := 0
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.play(t)
	learn := func(c *kernel.StackCopy) {
		copies++
		if c.PID != uint32(os.Getpid()) || len(c.Memory) == 0 || !c.Opener.Sample() {
			t.Errorf("a copy of process %d, %d bytes, opener %#x", c.PID, len(c.Memory), uint64(c.Opener))
		}
		ip, sp := registersOf(c)
		if err := p.Learn(path, kernel.StackBeginning{IP: ip, Program: c.Program, SP: uint32(sp & 4095)}, 0, nil); err != nil {
			t.Error(err)
		}
	}
	cancelled, end := context.WithCancel(ctx)
	if err := p.Copies(cancelled, learn, end); err != nil {
		t.Fatal(err)
	}
	first := copies
	s.close()
	s.play(t)
	got, err := p.OpenCounters()
	if err != nil {
		t.Fatal(err)
	}
	if first == 0 || got.Recognised == 0 || got.NotCopied != 0 || int(got.Copied) < first {
		t.Errorf("%d copies, %+v", first, got)
	}
	recognised := uint64(0)
	if err := p.Openers(func(id kernel.OpenerID, c *kernel.OpenerCounts) {
		if id == kernel.PathOf(path, uint32(os.Getpid())) {
			recognised = c.Opened
		}
	}); err != nil {
		t.Fatal(err)
	}
	if recognised != got.Recognised {
		t.Errorf("%d counted for the path, %d recognised", recognised, got.Recognised)
	}
}

func TestPlacesForConnectionsGoByMemory(t *testing.T) {
	for _, c := range []struct {
		memory   uint64
		onDemand bool
		want     uint32
	}{{0, true, 1 << 16}, {1 << 30, true, 1 << 16}, {24 << 30, true, 1 << 21}, {1 << 40, true, 1 << 22}, {24 << 30, false, 1 << 19}} {
		if got := openSockets(c.memory, c.onDemand); got != c.want {
			t.Errorf("%d bytes of memory: %d places, want %d", c.memory, got, c.want)
		}
	}
}
