package measure

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/test/check"
)

// onEveryRung runs a test with each kind of hook that the kernel offers, in a scene of its own.
func onEveryRung(t *testing.T, test func(t *testing.T, s *scene)) {
	for _, kind := range kernel.HookChoices[1:] {
		t.Run(string(kind), func(t *testing.T) {
			s := newScene(t)
			if s.watchBy(kind) {
				test(t, s)
			}
		})
	}
}

func TestProcessKilledInConnectLeavesNothing(t *testing.T) {
	const up, hanging = 10, 20
	onEveryRung(t, func(t *testing.T, s *scene) {
		l := s.listen(0)
		s.open(l, up)
		s.connect(l.at, 1) // takes the one place in the queue: no SYN is answered from here on
		p := s.start("hang 20", s.network.Start)
		s.await("SYN_SENT", hanging)
		s.await("ESTABLISHED", 2*(up+1))
		p.kill()
		s.await("SYN_SENT", 0)
		rec, counters := s.finish(0)
		s.wantRows(rec, map[string]int{"client ESTABLISHED": up + 1, "server ESTABLISHED": up + 1, "listener LISTEN": 1})
		s.wantUp(counters, up+1, up+1)
		s.wantCalls(counters, up+1+hanging, up+1+hanging)
		s.wantGone(rec, counters, hanging, 0) // those that hung were never established
	})
}

func TestConnectsThatHangAreClientsInSynSent(t *testing.T) {
	const hanging = 20
	s := newScene(t)
	s.watch()
	l := s.listen(0)
	s.connect(l.at, 1)
	s.start("hang 20", s.network.Start)
	s.await("SYN_SENT", hanging)
	rec, counters := s.finish(0)
	s.wantRows(rec, map[string]int{"client ESTABLISHED": 1, "server ESTABLISHED": 1, "listener LISTEN": 1,
		"client SYN_SENT": hanging})
	s.wantObjects(rec, kernel.RoleClient, "SYN_SENT", whole(hanging))
	if counters.ClientEstablished != 1 || counters.ServerEstablished != 1 {
		t.Errorf("%+v, want one established at each end", counters)
	}
}

func TestFailedConnectsAreNoEndpoints(t *testing.T) {
	const n = 15
	onEveryRung(t, func(t *testing.T, s *scene) {
		for range n {
			refused, unroutable := s.socket(unix.AF_INET), s.socket(unix.AF_INET)
			if err := unix.Connect(refused, listening); err != unix.ECONNREFUSED {
				t.Fatal(err)
			}
			nowhere := &unix.SockaddrInet4{Port: listenPort, Addr: [4]byte{192, 0, 2, 1}}
			if err := unix.Connect(unroutable, nowhere); err != unix.ENETUNREACH {
				t.Fatal(err)
			}
			s.close(refused, unroutable)
		}
		rec, counters := s.finish(0)
		s.wantRows(rec, map[string]int{})
		s.wantSYNs(counters, n)
		s.wantUp(counters, 0, 0)
		s.wantGone(rec, counters, 2*n, 0)
	})
}

// A connect() that fails before SYN_SENT is a call, which only hooks on the function see. It makes no endpoint, and
// the socket may still become one of either role.
func TestSocketsMayConnectOrListenAfterAConnectThatFailed(t *testing.T) {
	const n, failures = 12, 3
	onEveryRung(t, func(t *testing.T, s *scene) {
		s.witness.again = true
		nowhere := &unix.SockaddrInet4{Port: listenPort, Addr: [4]byte{192, 0, 2, 1}}
		failed := func() int {
			fd := s.socket(unix.AF_INET)
			for range failures {
				if err := unix.Connect(fd, nowhere); err != unix.ENETUNREACH {
					t.Fatal(err)
				}
			}
			return fd
		}
		l := listener{fd: failed(), at: listening}
		if err := errors.Join(unix.Bind(l.fd, l.at), unix.Listen(l.fd, n)); err != nil {
			t.Fatal(err)
		}
		for range n {
			if err := unix.Connect(failed(), l.at); err != nil {
				t.Fatal(err)
			}
			s.accept(l, 1)
			s.close(failed()) // never more than a failure
		}
		rec, counters := s.finish(0)
		s.wantPairs(rec, n)
		s.wantSYNs(counters, n)
		s.wantUp(counters, n, n)
		s.wantGone(rec, counters, n, 0)
		calls := failures*(2*n+1) + n
		s.wantCalls(counters, n, calls)
	})
}

// A port is looked for in SYN_SENT, so that every rung sees such a connect().
func TestConnectsWithoutAFreePortAreNoEndpoints(t *testing.T) {
	const ports, failures = 4, 9
	onEveryRung(t, func(t *testing.T, s *scene) {
		s.sysctl("net/ipv4/ip_local_port_range", "20000 20003")
		s.open(s.listen(ports), ports)
		for range failures {
			fd := s.socket(unix.AF_INET)
			if err := unix.Connect(fd, listening); err != unix.EADDRNOTAVAIL {
				t.Fatal(err)
			}
			s.close(fd)
		}
		rec, counters := s.finish(0)
		s.wantPairs(rec, ports)
		s.checkCalls(ports + failures)
		s.wantUp(counters, ports, ports)
		s.wantGone(rec, counters, failures, 0)
	})
}

func TestAcceptWithoutAConnectionCountsNothing(t *testing.T) {
	const n = 400
	onEveryRung(t, func(t *testing.T, s *scene) {
		l := s.listen(n)
		if err := unix.SetNonblock(l.fd, true); err != nil {
			t.Fatal(err)
		}
		done := make(chan accepting, 1)
		go func() { done <- acceptAgainAndAgain(l.fd, n) }()
		s.connect(l.at, n)
		a := <-done
		for _, fd := range a.sockets {
			s.sockets[fd] = true
		}
		if a.err != nil || a.empty < n {
			t.Fatalf("%v after %d accepts that found nothing: the test would prove nothing", a.err, a.empty)
		}
		s.finishPairs(n)
		s.checkAccepts(n)
	})
}

// checkAccepts wants n accepts, all by this process, where accept has a hook of its own.
func (s *scene) checkAccepts(n int) {
	s.t.Helper()
	if !s.hooked(kernel.HookAccept) {
		return
	}
	counters, err := s.plain.probes.Counters()
	if err != nil {
		s.t.Fatal(err)
	}
	if !check.Short(int(counters.Accepts), n, s.skipped(counters)) || s.witness.accepts != int(counters.Accepts) {
		s.t.Errorf("%d accepts counted and %d reported, want %d", counters.Accepts, s.witness.accepts, n)
	}
	s.checkServerPID(n)
}

func (s *scene) checkServerPID(n int) {
	s.t.Helper()
	ours := 0
	for _, e := range s.ends() {
		if e.role == "server" && e.pid == pidText {
			ours++
		}
	}
	if ours != n {
		s.t.Errorf("%d server ends said to be this process's, want %d", ours, n)
	}
}

type accepting struct {
	sockets []int
	empty   int
	err     error
}

// acceptAgainAndAgain accepts without waiting, until it has n connections and an empty queue as often.
func acceptAgainAndAgain(fd, n int) accepting {
	var a accepting
	for len(a.sockets) < n || a.empty < n {
		socket, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			a.sockets = append(a.sockets, socket)
		case unix.EAGAIN:
			a.empty++
		default:
			a.err = err
			return a
		}
	}
	return a
}

// A return probe has room for only so many calls at a time, and threads that wait in accept() use it up.
func TestManyThreadsMayWaitInAccept(t *testing.T) {
	const threads, each = 40, 3
	onEveryRung(t, func(t *testing.T, s *scene) {
		l := s.listen(threads * each)
		accepted, ids := make(chan int, threads), make(chan int)
		for range threads {
			go func() {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				ids <- unix.Gettid()
				for {
					fd, _, err := unix.Accept4(l.fd, unix.SOCK_CLOEXEC)
					if err != nil {
						fd = -1
					}
					accepted <- fd
					if err != nil {
						return
					}
				}
			}()
		}
		t.Cleanup(func() { _ = unix.Shutdown(l.fd, unix.SHUT_RDWR) }) // wakes them up
		var waiting []int
		for range threads {
			waiting = append(waiting, <-ids)
		}
		s.awaitSleeping(waiting)
		for range threads * each {
			s.connect(l.at, 1)
			fd := <-accepted
			if fd < 0 {
				t.Fatal("accept failed")
			}
			s.sockets[fd] = true
		}
		s.finishPairs(threads * each)
		s.checkAccepts(threads * each)
		if got := s.plain.ledger.Unclaimed(); s.hooked(kernel.HookAccept) && got != 0 {
			t.Errorf("%d accepted ends of nobody", got)
		}
	})
}

func TestConnectionsNotYetAcceptedHaveNoFile(t *testing.T) {
	const n, accepted = 40, 15
	s := newScene(t)
	s.watch()
	l := s.listen(n)
	clients := s.connect(l.at, n)
	s.accept(l, accepted)
	s.watchedSets(1, clients)
	rec, counters := s.finish(0)
	s.wantRows(rec, map[string]int{"client ESTABLISHED": n, "server ESTABLISHED": n, "listener LISTEN": 1})
	s.wantObjects(rec, kernel.RoleClient, "ESTABLISHED", inSets(t, n, 1))
	s.wantObjects(rec, kernel.RoleServer, "ESTABLISHED", map[string]int{"tcp_sock": n, "socket_alloc": accepted, "file": accepted,
		"dentry": accepted, "epitem": 0})
	skipped := s.skipped(counters)
	if !check.Short(int(counters.ServerEstablished), n, skipped) || s.hooked(kernel.HookAccept) && !check.Short(int(counters.Accepts), accepted, skipped) {
		t.Errorf("%+v, want %d established and %d accepted", counters, n, accepted)
	}
}

func TestListenerThatGoesTakesItsQueueAlong(t *testing.T) {
	const n, accepted = 30, 10
	s := newScene(t)
	s.watch()
	l := s.listen(n)
	clients := s.connect(l.at, n)
	s.accept(l, accepted)
	s.close(l.fd) // resets what it has not handed out
	s.await("ESTABLISHED", 2*accepted)
	s.close(clients[accepted:]...)
	rec, counters := s.finish(0)
	s.wantRows(rec, map[string]int{"client ESTABLISHED": accepted, "server ESTABLISHED": accepted})
	s.wantObjects(rec, kernel.RoleServer, "ESTABLISHED", whole(accepted))
	s.wantGone(rec, counters, 2*(n-accepted)+1, 2*(n-accepted)) // and the listener
}

// With TCP_DEFER_ACCEPT the server stays with the request until data comes.
func TestUnfinishedHandshakesAreRequests(t *testing.T) {
	const n = 25
	s := newScene(t)
	s.watch()
	l := s.listen(n)
	if err := unix.SetsockoptInt(l.fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60); err != nil {
		t.Fatal(err)
	}
	s.connect(l.at, n)
	s.await("SYN_RECV", n)
	requests := kernel.StateNewSynRecv.String()
	rec, counters := s.finish(0)
	s.wantRows(rec, map[string]int{"client ESTABLISHED": n, "server " + requests: n, "listener LISTEN": 1})
	s.wantObjects(rec, kernel.RoleClient, "ESTABLISHED", whole(n))
	s.wantObjects(rec, kernel.RoleServer, requests, map[string]int{"tcp_request_sock": n, "tcp_sock": 0, "file": 0})
	if counters.ClientEstablished != n || counters.ServerEstablished != 0 {
		t.Errorf("%+v, want %d ends up, all clients", counters, n)
	}
}

func TestHandshakesBySynCookieCountAsOthers(t *testing.T) {
	const n = 30
	s := newScene(t)
	s.sysctl("net/ipv4/tcp_syncookies", "2") // for all
	s.watch()
	l := s.listen(n)
	s.open(l, n)
	s.finishPairs(n)
}

// sysctl sets one of the namespace.
func (s *scene) sysctl(name, value string) {
	s.t.Helper()
	if err := s.network.Do(func() error {
		return os.WriteFile("/proc/sys/"+name, []byte(value), 0)
	}); err != nil {
		s.t.Fatal(err)
	}
}
