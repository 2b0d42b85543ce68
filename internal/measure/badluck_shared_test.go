package measure

import (
	"testing"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
)

func TestDupedSocketsAreCountedOnce(t *testing.T) {
	const n = 30
	s := newScene(t)
	l := s.listen(n)
	s.watch()
	clients, servers := s.open(l, n)
	for _, fd := range append(clients, servers...) {
		for range 3 {
			copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			s.sockets[copied] = true
		}
		s.close(fd) // the copies keep it
	}
	rec, counters := s.finish(0)
	s.wantPairs(rec, n)
	if counters.Destroyed != 0 {
		t.Errorf("%d sockets destroyed while copies are open", counters.Destroyed)
	}
}

func TestSocketsHeldByTwoProcessesAreCountedOnce(t *testing.T) {
	const n, gone = 20, 5
	s := newScene(t)
	l := s.listen(n)
	s.watch()
	clients, servers := s.open(l, n)
	both := append(append([]int{}, clients...), servers...)
	second := s.start("hold 0", s.network.Start, both...).answer()
	third := s.start("hold 0", outside, both...).answer()
	s.close(clients...)
	s.close(servers[gone:]...)
	second.kill()
	if got := s.listed()["ESTABLISHED"]; got != 2*n {
		t.Fatalf("the kernel lists %d ESTABLISHED sockets, want %d", got, 2*n)
	}
	s.finishPairs(n)
	third.kill() // now only servers[:gone] are left, by this process
	s.await("CLOSE_WAIT", gone)
}

func TestSocketsPassedToAnotherProcessAreCountedOnce(t *testing.T) {
	const n = 30
	for _, c := range []struct {
		name     string
		received bool
	}{{"received", true}, {"on their way", false}} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			l := s.listen(n)
			s.watch()
			clients, servers := s.open(l, n)
			pipe, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			s.sockets[pipe[0]], s.sockets[pipe[1]] = true, true
			for _, fd := range append(clients, servers...) {
				if err := unix.Sendmsg(pipe[0], []byte{0}, unix.UnixRights(fd), nil, 0); err != nil {
					t.Fatal(err)
				}
				s.close(fd)
			}
			if c.received {
				s.start("receive 60", outside, pipe[1]).answer()
			}
			s.finishPairs(n)
		})
	}
}

// wantPairs wants n open connections, each end with its objects once.
func (s *scene) wantPairs(rec *recording.Machine, n int) {
	s.t.Helper()
	s.wantRows(rec, map[string]int{"client ESTABLISHED": n, "server ESTABLISHED": n, "listener LISTEN": 1})
	s.wantObjects(rec, kernel.RoleClient, "ESTABLISHED", whole(n))
	s.wantObjects(rec, kernel.RoleServer, "ESTABLISHED", whole(n))
}

// finishPairs is finish for n connections opened in the trace, none of which has ended.
func (s *scene) finishPairs(n int) {
	s.t.Helper()
	rec, counters := s.finish(0)
	s.wantPairs(rec, n)
	s.wantUp(counters, n, n)
	s.wantGone(rec, counters, 0, 0)
}

// heads is how many epitems_heads n files in epoll sets have: the struct came with 5.11.
func heads(t *testing.T, n int) int {
	t.Helper()
	types, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	var head *btf.Struct
	if types.TypeByName("epitems_head", &head) != nil {
		return 0
	}
	return n
}

// watchedSets puts every socket into as many epoll sets of its own.
func (s *scene) watchedSets(sets int, sockets []int) {
	s.t.Helper()
	for range sets {
		set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			s.t.Fatal(err)
		}
		s.sockets[set] = true
		s.addTo(set, sockets)
	}
}

func (s *scene) addTo(set int, sockets []int) {
	s.t.Helper()
	for _, fd := range sockets {
		if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
			s.t.Fatal(err)
		}
	}
}

func inSets(t *testing.T, n, sets int) map[string]int {
	objects := whole(n)
	objects["epitem"], objects["eppoll_entry"], objects["epitems_head"] = n*sets, n*sets, heads(t, n)
	return objects
}

func TestSocketInSeveralEpollSetsHasAnEpitemInEach(t *testing.T) {
	const n, clientSets, serverSets = 20, 3, 8
	s := newScene(t)
	l := s.listen(n)
	s.watch()
	clients, servers := s.open(l, n)
	s.watchedSets(clientSets, clients)
	s.watchedSets(serverSets, servers)
	rec, _ := s.finish(0)
	s.wantObjects(rec, kernel.RoleClient, "ESTABLISHED", inSets(t, n, clientSets))
	s.wantObjects(rec, kernel.RoleServer, "ESTABLISHED", inSets(t, n, serverSets))
	s.wantSkipped(0)
}

func TestEpollSetsBeyondTheWalksReachAreALossThatIsCounted(t *testing.T) {
	const n = 5
	s := newScene(t)
	l := s.listen(n)
	s.watch()
	clients, _ := s.open(l, n)
	s.watchedSets(20, clients)
	rec, _ := s.finish(0)
	_, objects := check.Objects(rec, kernel.RoleClient, "ESTABLISHED")
	if got := s.plain.ledger.Skipped(); objects["epitem"] != 20*n && got < n {
		t.Errorf("%d of %d epitems found, and %d endpoints said not to be followed", objects["epitem"], 20*n, got)
	}
	s.wantRows(rec, map[string]int{"client ESTABLISHED": n, "server ESTABLISHED": n, "listener LISTEN": 1})
}

// An epoll set goes by file and descriptor: the copy of a descriptor is another member, of the same file.
func TestCopiedDescriptorInAnEpollSetIsASecondEpitem(t *testing.T) {
	const n = 20
	s := newScene(t)
	l := s.listen(n)
	s.watch()
	clients, servers := s.open(l, n)
	copies := make([]int, n)
	for i, fd := range clients {
		var err error
		if copies[i], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		s.sockets[copies[i]] = true
	}
	s.watchedSets(1, append(append([]int{}, clients...), copies...))
	s.watchedSets(1, servers)
	s.close(clients...) // the membership of a closed descriptor lasts as long as the file
	rec, _ := s.finish(0)
	twice := inSets(t, n, 2)
	s.wantObjects(rec, kernel.RoleClient, "ESTABLISHED", twice)
	s.wantObjects(rec, kernel.RoleServer, "ESTABLISHED", inSets(t, n, 1))
}

func TestSocketsThatLeaveAnEpollSetTakeTheirEpitemsAlong(t *testing.T) {
	const n = 20
	s := newScene(t)
	l := s.listen(n)
	s.watch()
	clients, servers := s.open(l, n)
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	s.sockets[set] = true
	s.addTo(set, clients)
	for _, fd := range clients {
		if err := unix.EpollCtl(set, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.watchedSets(1, servers)
	s.close(set)
	rec, _ := s.finish(0)
	s.wantObjects(rec, kernel.RoleClient, "ESTABLISHED", whole(n))
	s.wantObjects(rec, kernel.RoleServer, "ESTABLISHED", inSets(t, n, 1))
}
