package measure

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/loader"
	"github.com/connprof/connprof/netcfg"
	"github.com/connprof/connprof/test/check"
)

// scene is a private network of real sockets, which the test handles with plain system calls, and probes that watch
// it from any moment on.
type scene struct {
	t       *testing.T
	network *netcfg.Private
	sockets map[int]bool
	plain   *plain
	witness *witness
	skips   []*skips // by tracepoint; none where nothing else runs
	// reconnects says that sockets connect more than once. Set before the trace.
	reconnects bool
}

func newScene(t *testing.T) *scene {
	t.Helper()
	return newSceneFor(t, 16384)
}

// newSceneFor has a network whose established hash is sized for so many sockets.
func newSceneFor(t *testing.T, sockets int) *scene {
	t.Helper()
	network, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, IPv6: true, Sockets: sockets})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	s := &scene{t: t, network: network, sockets: map[int]bool{}}
	t.Cleanup(func() {
		for fd := range s.sockets {
			unix.Close(fd)
		}
	})
	// Under load a FIN may come twice, and the reset that answers the second ACK would end a TIME_WAIT early.
	s.sysctl("net/ipv4/tcp_rfc1337", "1")
	return s
}

// watch starts the trace.
func (s *scene) watch() {
	s.t.Helper()
	if err := s.load(kernel.KindAuto); err != nil {
		s.t.Fatal(err)
	}
}

// watchBy starts the trace by one kind of hook and tells whether the kernel offers it.
func (s *scene) watchBy(kind kernel.HookKind) bool {
	s.t.Helper()
	err := s.load(kind)
	var missing *loader.MissingError
	if errors.As(err, &missing) {
		s.t.Logf("not offered here: %v", err)
		return false
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return true
}

func (s *scene) load(kind kernel.HookKind) error {
	probes, err := loader.Load(loader.Config{Scope: loader.InNetns(s.network.Inode()), Force: kind, SampleInterval: 32})
	if err != nil {
		return err
	}
	if !check.Quiet {
		s.skips = []*skips{newSkips(s.t, "tcp", "tcp_destroy_sock"), newSkips(s.t, "sock", "inet_sock_set_state")}
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(func() { cancel(); _ = probes.Close() })
	s.witness = &witness{Ledger: account.NewLedger(1000), alive: map[uint64]life{},
		addresses: map[uint64]bool{}, opens: map[kernel.Role]int{}, again: s.reconnects}
	s.plain = &plain{t: s.t, network: s.network, probes: probes, ledger: s.witness.Ledger, stop: cancel,
		drained: make(chan error, 1)}
	go func(p *plain, w *witness) { p.drained <- p.probes.Drain(ctx, w) }(s.plain, s.witness)
	return nil
}

// hooked tells whether a hook has a program of its own, so that it counts calls.
func (s *scene) hooked(name kernel.HookName) bool {
	for _, h := range s.plain.probes.Hooks() {
		if h.Name == name {
			return h.Kind != kernel.KindTracepoint
		}
	}
	return false
}

// skipped is how many runs of programs the kernel may have left out, by its own count and by what is in none.
func (s *scene) skipped(c loader.Counters) int {
	s.t.Helper()
	n := int(c.RecursionMisses)
	for _, skips := range s.skips {
		n += skips.n(s.t)
	}
	return n
}

// wantGone wants as many sockets destroyed and endpoints closed, but for runs of the program that the kernel has left out.
func (s *scene) wantGone(rec *recording.Machine, c loader.Counters, destroyed, closes int) {
	s.t.Helper()
	skipped := s.skipped(c)
	if !check.Short(int(c.Destroyed), destroyed, skipped) || !check.Short(rec.Trace.Closes, closes, skipped) {
		s.t.Errorf("%d sockets destroyed, %d of them endpoints that have closed, want %d and %d, less %d skipped at most", c.Destroyed,
			rec.Trace.Closes, destroyed, closes, skipped)
	}
}

// wantUp wants as many handshakes to have ended at each side, but for runs of the program that the kernel has left out.
func (s *scene) wantUp(c loader.Counters, clients, servers int) {
	s.t.Helper()
	skipped := s.skipped(c)
	if !check.Short(int(c.ClientEstablished), clients, skipped) || !check.Short(int(c.ServerEstablished), servers, skipped) {
		s.t.Errorf("%d clients and %d servers established, want %d and %d, less %d skipped at most", c.ClientEstablished,
			c.ServerEstablished, clients, servers, skipped)
	}
}

// wantSYNs wants so many to have been sent, but for runs of the program that the kernel has left out.
func (s *scene) wantSYNs(c loader.Counters, n int) {
	s.t.Helper()
	if !check.Short(int(c.SynSent), n, s.skipped(c)) {
		s.t.Errorf("%d SYNs, want %d, less %d skipped at most", c.SynSent, n, s.skipped(c))
	}
}

// wantCalls wants so many SYNs, and so many calls of connect where it has a hook of its own.
func (s *scene) wantCalls(c loader.Counters, syns, calls int) {
	s.t.Helper()
	s.wantSYNs(c, syns)
	if s.hooked(kernel.HookConnect) && !check.Short(int(c.ConnectCalls), calls, s.skipped(c)) {
		s.t.Errorf("%d calls of connect, want %d, less %d skipped at most", c.ConnectCalls, calls, s.skipped(c))
	}
}

// finish ends the trace and holds its recording against what the kernel lists and against the witness. untraced is
// how many of the sockets still there were connected before the trace began.
func (s *scene) finish(untraced int) (*recording.Machine, loader.Counters) {
	s.t.Helper()
	before := s.listed()
	rec, counters := s.plain.account(account.Snapshot{})
	s.checkListed(rec, before, s.listed())
	s.checkWitness(rec, counters, untraced)
	for _, row := range rec.Endpoints {
		for _, o := range row.Objects {
			if o.Count < 0 || o.Count > 100_000 || o.PageBytes > 1<<30 {
				s.t.Errorf("%s %s: %d of %s in %d bytes of pages", row.Role, row.State, o.Count, o.Type, o.PageBytes)
			}
		}
	}
	return rec, counters
}

// checkListed wants as many endpoints in each state as the kernel listed before and after the walk.
func (s *scene) checkListed(rec *recording.Machine, before, after map[string]int) {
	s.t.Helper()
	walked := map[string]int{}
	for _, row := range rec.Endpoints {
		state := row.State
		if state == kernel.StateNewSynRecv.String() {
			state = "SYN_RECV" // as /proc/net/tcp shows it
		}
		walked[state] += row.Count
	}
	for state := range merged(walked, before, after) {
		if n := walked[state]; n < min(before[state], after[state]) || n > max(before[state], after[state]) {
			s.t.Errorf("%d endpoints walked in %s, the kernel lists %d, then %d", n, state, before[state], after[state])
		}
	}
}

func merged(counts ...map[string]int) map[string]int {
	all := map[string]int{}
	for _, c := range counts {
		maps.Copy(all, c)
	}
	return all
}

// checkWitness wants a trace without contradictions that ends with the sockets that the walk finds.
func (s *scene) checkWitness(rec *recording.Machine, c loader.Counters, untraced int) {
	s.t.Helper()
	w := s.witness
	skipped := s.skipped(c)
	if len(w.wrong) > skipped { // whose address was used again after a close that was skipped
		for _, text := range w.wrong[:min(len(w.wrong), 5)] {
			s.t.Error(text)
		}
	}
	if c.RingFull != 0 || c.MapFull != 0 {
		s.t.Errorf("%d events and %d map entries lost", c.RingFull, c.MapFull)
	}
	if got := uint64(w.closes + w.strangers); got != c.Destroyed {
		s.t.Errorf("%d ends reported closed, the counter says %d", got, c.Destroyed)
	}
	if rec.Trace.Closes > rec.Trace.ClientOpens+rec.Trace.ServerOpens {
		s.t.Errorf("%d endpoints closed of %d and %d opened: a negative count", rec.Trace.Closes, rec.Trace.ClientOpens,
			rec.Trace.ServerOpens)
	}
	unknown := 0
	stale := maps.Clone(w.alive)
	if err := s.plain.probes.Walk(func(e *kernel.Endpoint) error {
		if _, ok := w.alive[e.Sock]; !ok && e.Objects[kernel.TCPSock] > 0 && e.State != kernel.StateListen {
			unknown++
		}
		delete(stale, e.Sock)
		return nil
	}, s.network); err != nil {
		s.t.Fatal(err)
	}
	if unknown < untraced || unknown-untraced+len(stale) > skipped {
		s.t.Errorf("the walk finds %d sockets that the trace does not know, want %d; the trace has %d that are gone; %d runs of programs skipped",
			unknown, untraced, len(stale), skipped)
	}
}

// listed counts the namespace's sockets by state, as /proc/net/tcp and tcp6 list them.
func (s *scene) listed() map[string]int {
	s.t.Helper()
	counts := map[string]int{}
	if err := s.network.Do(func() error {
		for _, file := range []string{"tcp", "tcp6"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + file)
			if err != nil {
				return err
			}
			for _, line := range strings.Split(string(b), "\n")[1:] {
				if f := strings.Fields(line); len(f) > 3 {
					state, err := strconv.ParseUint(f[3], 16, 8)
					if err != nil {
						return err
					}
					counts[kernel.State(state).String()]++
				}
			}
		}
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	return counts
}

// await waits until the kernel lists n sockets in a state: the network works on after a call has returned. An end in
// TIME_WAIT has sent its last ACK, which its peer waits for in LAST_ACK until a softirq hands it over.
func (s *scene) await(state string, n int) {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		counts := s.listed()
		if counts[state] == n && (state != "TIME_WAIT" || counts["LAST_ACK"] == 0) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("the kernel lists %v, want %d in %s: the test's own sockets are wrong", counts, n, state)
		}
	}
}

// wantRows wants these rows, as "role STATE", and no others.
func (s *scene) wantRows(rec *recording.Machine, want map[string]int) {
	s.t.Helper()
	got := map[string]int{}
	for _, row := range rec.Endpoints {
		got[row.Role.String()+" "+row.State] += row.Count
	}
	if !maps.Equal(got, want) {
		s.t.Errorf("rows %v, want %v", got, want)
	}
}

// wantObjects wants so many objects of each of these types in a row.
func (s *scene) wantObjects(rec *recording.Machine, role kernel.Role, state string, want map[string]int) {
	s.t.Helper()
	_, objects := check.Objects(rec, role, state)
	for kind, n := range want {
		if objects[kind] != n {
			s.t.Errorf("%s %s: %d of %s, want %d", role, state, objects[kind], kind, n)
		}
	}
}

// whole is what n open sockets in no epoll set have.
func whole(n int) map[string]int {
	return map[string]int{"tcp_sock": n, "socket_alloc": n, "file": n, "dentry": n, "epitem": 0, "eppoll_entry": 0,
		"epitems_head": 0, "tcp_timewait_sock": 0, "tcp_request_sock": 0}
}

// bare is what n sockets have that no process holds.
func bare(n int) map[string]int {
	return map[string]int{"tcp_sock": n, "socket_alloc": 0, "file": 0, "dentry": 0, "epitem": 0, "tcp_timewait_sock": 0}
}

// end is a row of the list of endpoints.
type end struct{ role, state, pid, openedAt string }

// ends lists the endpoints as `connprof run --endpoints` does, after the trace.
func (s *scene) ends() []end {
	s.t.Helper()
	var out bytes.Buffer
	list := account.NewEndpointList(&out, s.plain.ledger, account.NewCaches(nil, nil, nil, nil, nil), account.Processes{})
	if err := errors.Join(s.plain.probes.Walk(list.Visit, s.network), list.Flush()); err != nil {
		s.t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		s.t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	var ends []end
	for _, row := range rows[1:] {
		ends = append(ends, end{row[column["role"]], row[column["state"]], row[column["pid"]], row[column["opened_at"]]})
	}
	return ends
}

// witness hands every event on to the ledger and keeps simple books of its own beside it.
type witness struct {
	*account.Ledger
	alive                      map[uint64]life
	addresses                  map[uint64]bool
	opens                      map[kernel.Role]int
	accepts, closes, strangers int  // a stranger is closed and is not open: it is from before the trace, or failed
	again                      bool // sockets may connect more than once
	wrong                      []string
}

type life struct{ opened, accepted bool }

func (w *witness) Opened(e kernel.EndpointEvent) {
	l := w.alive[e.Sock]
	if l.opened && !w.again {
		w.wrong = append(w.wrong, fmt.Sprintf("sock %#x opened as %v, and it was open", e.Sock, e.Role))
	}
	l.opened = true
	w.alive[e.Sock] = l
	w.opens[e.Role]++
	w.addresses[e.Sock] = true
	w.Ledger.Opened(e)
}

func (w *witness) Accepted(e kernel.EndpointEvent) {
	l := w.alive[e.Sock]
	if l.accepted {
		w.wrong = append(w.wrong, fmt.Sprintf("sock %#x accepted twice", e.Sock))
	}
	l.accepted = true
	w.alive[e.Sock] = l
	w.accepts++
	w.Ledger.Accepted(e)
}

func (w *witness) Closed(e kernel.EndpointEvent) {
	w.Ledger.Closed(e)
	w.gone(e)
}

// Failed is the end of a sock whose connect() came to nothing.
func (w *witness) Failed(e kernel.EndpointEvent) {
	w.Ledger.Failed(e)
	w.gone(e)
}

func (w *witness) gone(e kernel.EndpointEvent) {
	if _, known := w.alive[e.Sock]; known {
		w.closes++
	} else {
		w.strangers++
	}
	delete(w.alive, e.Sock)
}
