package measure

import (
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/loader"
	"github.com/connprof/connprof/test/check"
)

// The kernel gives the memory of a struct sock out again at once: the same address is many endpoints in turn, of
// either role.
func TestSocketsOpenedAndClosedByTheThousandLeaveOnlyWhatIsOpen(t *testing.T) {
	const cycles, held = 3000, 50
	s := newScene(t)
	s.watch()
	l := s.listen(held)
	for i := range cycles {
		clients, servers := s.open(l, 1)
		first, second := clients[0], servers[0]
		if i%2 == 1 {
			first, second = second, first
		}
		if i%3 == 0 { // a reset leaves no TIME_WAIT
			if err := unix.SetsockoptLinger(first, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
				t.Fatal(err)
			}
		}
		s.close(first, second)
		if i%(cycles/held) == 0 {
			s.open(l, 1)
		}
	}
	s.await("ESTABLISHED", 2*held)
	s.await("LAST_ACK", 0)
	rec, counters := s.finish(0)
	for _, role := range []kernel.Role{kernel.RoleClient, kernel.RoleServer} {
		if n, objects := check.Objects(rec, role, "ESTABLISHED"); n != held || objects["file"] != held {
			t.Errorf("%d %ss with %v, want %d", n, role, objects, held)
		}
		s.wantObjects(rec, role, "ESTABLISHED", whole(held))
	}
	s.wantUp(counters, cycles+held, cycles+held)
	s.wantGone(rec, counters, 2*cycles, 2*cycles)
	s.checkServerPIDIfHooked(held)
	if got := len(s.witness.addresses); got >= 2*(cycles+held) {
		t.Errorf("no address was used twice: the test would prove nothing")
	}
}

func (s *scene) checkServerPIDIfHooked(n int) {
	s.t.Helper()
	if s.hooked(kernel.HookAccept) {
		s.checkServerPID(n)
	}
}

// tracers attaches and detaches a second set of probes again and again until told to stop, and says how often.
func tracers(netns uint32, stop <-chan struct{}, attached chan<- int) error {
	for i := 1; ; i++ {
		p, err := loader.Load(loader.Config{Scope: loader.InNetns(netns), SampleInterval: 8})
		if err != nil {
			return err
		}
		if err := p.Close(); err != nil {
			return err
		}
		select {
		case attached <- i:
		case <-stop:
			return nil
		}
	}
}

func TestOtherTracersMayComeAndGo(t *testing.T) {
	const rounds, most = 3, 1500
	s := newScene(t)
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	s.watch()
	stop, attached, ended := make(chan struct{}), make(chan int), make(chan error, 1)
	go func() { ended <- tracers(s.network.Inode(), stop, attached) }()
	l := s.listen(10)
	opened := 0
	for done := 0; done < rounds; {
		select {
		case done = <-attached:
		case err := <-ended:
			t.Fatal(err)
		default:
			if opened == most {
				time.Sleep(time.Millisecond)
				continue
			}
			s.open(l, 1)
			opened++
			clients, servers := s.open(l, 1)
			s.close(clients[0], servers[0])
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	s.await("ESTABLISHED", 2*opened)
	s.await("LAST_ACK", 0)
	s.finishHalfClosed(opened)
	t.Logf("%d connections while %d tracers came and went", 2*opened, rounds)
}

// finishHalfClosed is finish for twice n connections, of which n are closed. The trace lacks no more of them than the kernel has
// skipped, and that is none where nothing else runs.
func (s *scene) finishHalfClosed(n int) {
	s.t.Helper()
	rec, c := s.finish(0)
	for _, role := range check.Roles {
		if held, _ := check.Objects(rec, role, "ESTABLISHED"); held != n {
			s.t.Errorf("%d %s endpoints, want %d", held, role, n)
		}
	}
	skipped := int(c.RecursionMisses)
	counts := []int{int(c.ClientEstablished), int(c.ServerEstablished), rec.Trace.Closes}
	if s.hooked(kernel.HookAccept) {
		counts = append(counts, int(c.Accepts))
	}
	if s.hooked(kernel.HookConnect) {
		counts = append(counts, int(c.ConnectCalls))
	}
	for _, count := range counts {
		if !check.Short(count, 2*n, skipped) {
			s.t.Errorf("%+v and %d closes, want %d opened and half of them closed", c, rec.Trace.Closes, 2*n)
			break
		}
	}
	if release, _ := kernel.Release(); check.Quiet && skipped != 0 && !check.Preempts(release) {
		s.t.Errorf("%d runs of programs skipped by a kernel with nothing else to do", skipped)
	}
}

// TestTracersBesideEachOtherSeeTheSame has several at work at a time.
func TestTracersBesideEachOtherSeeTheSame(t *testing.T) {
	const n = 100
	s := newScene(t)
	other, err := loader.Load(loader.Config{Scope: loader.InNetns(s.network.Inode()), SampleInterval: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s.watch()
	l := s.listen(n)
	s.open(l, n)
	s.finishPairs(n)
	mine, err := s.plain.probes.Counters()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := other.Counters()
	if err != nil {
		t.Fatal(err)
	}
	mine.Events, theirs.Events = 0, 0 // one samples more stacks than the other
	mine.FreeMisses, theirs.FreeMisses = 0, 0
	mine.RecursionMisses, theirs.RecursionMisses = 0, 0 // what an interrupt allocates in the middle of a program is skipped
	if mine != theirs {
		t.Errorf("one counts %+v, the other %+v", mine, theirs)
	}
}

func TestEndsOfAKilledClientAreOrphans(t *testing.T) {
	const n = 40
	for _, c := range []struct {
		name       string
		finTimeout string
		replaced   bool
	}{
		// tcp_time_wait() replaces the tcp_sock unless it has to wait for longer than TIME_WAIT lasts.
		{"for a minute", "60", true},
		{"for longer", "600", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			s.sysctl("net/ipv4/tcp_fin_timeout", c.finTimeout)
			s.watch()
			l := s.listen(n)
			client := s.start("connect 40", s.network.Start)
			s.accept(l, n)
			client.answer().kill()
			s.await("CLOSE_WAIT", n)
			s.await("FIN_WAIT2", n)
			rec, counters := s.finish(0)
			s.wantRows(rec, map[string]int{"client FIN_WAIT2": n, "server CLOSE_WAIT": n, "listener LISTEN": 1})
			if c.replaced {
				s.wantReplaced(rec, n)
			} else {
				s.wantObjects(rec, kernel.RoleClient, "FIN_WAIT2", bare(n))
			}
			s.wantObjects(rec, kernel.RoleServer, "CLOSE_WAIT", whole(n))
			s.wantUp(counters, n, n)
		})
	}
}

// wantReplaced wants the clients' ends in FIN_WAIT2 to have tcp_timewait_socks in place of tcp_socks. One whose ACK comes while its
// process still closes it keeps the tcp_sock (sock_owned_by_user in tcp_rcv_state_process): on a slow host there may be a few.
func (s *scene) wantReplaced(rec *recording.Machine, n int) {
	s.t.Helper()
	_, objects := check.Objects(rec, kernel.RoleClient, "FIN_WAIT2")
	replaced, kept := objects["tcp_timewait_sock"], objects["tcp_sock"]
	if replaced+kept != n || kept > n/10 || objects["file"]+objects["socket_alloc"] != 0 {
		s.t.Errorf("client FIN_WAIT2: %v, want %d of tcp_timewait_sock, or a few of them tcp_sock, and no file", objects, n)
	}
}

func TestBothEndsClosedLeaveATimeWaitOfTheOneThatWasFirst(t *testing.T) {
	const byClient, byServer = 25, 15
	s := newScene(t)
	s.watch()
	l := s.listen(byClient)
	clients, servers := s.open(l, byClient+byServer)
	s.close(clients[:byClient]...)
	s.close(servers[byClient:]...)
	s.await("CLOSE_WAIT", byClient+byServer)
	s.close(servers[:byClient]...)
	s.close(clients[byClient:]...)
	s.await("TIME_WAIT", byClient+byServer)
	rec, counters := s.finish(0)
	s.wantRows(rec, map[string]int{"client TIME_WAIT": byClient, "server TIME_WAIT": byServer, "listener LISTEN": 1})
	both := 2 * (byClient + byServer)
	s.wantGone(rec, counters, both, both)
	if n := s.plain.ledger.Count(kernel.RoleServer, kernel.StateTimeWait); n != byServer {
		t.Errorf("the ledger has %d of the server's ends in TIME_WAIT, want %d", n, byServer)
	}
}
