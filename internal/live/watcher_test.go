package live

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func TestTheNextLookComesNoSoonerThanTenTimesTheLast(t *testing.T) {
	for _, c := range []struct{ took, interval, want time.Duration }{
		{20 * time.Millisecond, 2 * time.Second, 1980 * time.Millisecond},
		{500 * time.Millisecond, 2 * time.Second, 5 * time.Second},
		{0, time.Second, time.Second},
	} {
		w := Watcher{took: c.took}
		if got := w.Pause(c.interval); got != c.want {
			t.Errorf("after %v of %v: %v, want %v", c.took, c.interval, got, c.want)
		}
	}
}

// What a watcher counts is what the test has opened, closed and failed to open, whatever else goes on on the host.
func TestAWatcherCountsWhatIsOpenedAndClosed(t *testing.T) {
	const pairs, closed, refused = 50, 20, 5
	w := newWatcher(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	early := dialAndAccept(t, l) // before anything is counted
	if err := w.Count(); err != nil {
		t.Fatal(err)
	}
	early()
	var closers []func()
	for range pairs {
		closers = append(closers, dialAndAccept(t, l))
	}
	for range refused {
		if c, err := net.Dial("tcp4", "127.0.0.1:1"); err == nil {
			c.Close()
			t.Fatal("something listens at port 1")
		}
	}
	for i, end := range closers {
		if i < closed {
			end()
		} else {
			defer end()
		}
	}
	own := func(c *Counts) ProcessCount { return c.Processes[os.Getpid()] }
	if _, err := w.Look(); err != nil { // who listens where
		t.Fatal(err)
	}
	c := countsWhen(t, w, func(c *Counts) bool { return own(c).Closed >= 2*closed+refused })
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	arrived := uint64(0)
	for at, n := range c.Arrived {
		if at.Port == port {
			arrived += n
		}
	}
	if arrived != pairs {
		t.Errorf("%d came in at the listener, want %d", arrived, pairs)
	}
	// Both ends are this process's, whether accept() can be hooked or not.
	if got := own(c); got.Opened != 2*pairs+refused || got.Closed > 2*closed+refused || got.Closed+c.Skipped < 2*closed+refused ||
		got.Failed != refused {
		t.Errorf("the process: %+v, want %d opened, %d closed, %d failed", got, 2*pairs+refused, 2*closed+refused, refused)
	}
	if c.Errors[kernelRefused(t)] < refused {
		t.Errorf("%d refused, want at least %d", c.Errors[kernelRefused(t)], refused)
	}
	if c.Opened < 2*pairs+refused || c.Closed < 2*closed+refused {
		t.Errorf("in all %d opened and %d closed, want at least %d and %d", c.Opened, c.Closed, 2*pairs+refused, 2*closed+refused)
	}
	if c.Lost != 0 {
		t.Errorf("%d lost", c.Lost)
	}
	if err := w.StopCounting(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Counts(); !errors.Is(err, ErrNotCounting) {
		t.Errorf("counts after the end: %v", err)
	}
}

func kernelRefused(t *testing.T) kernel.OpenError {
	for e := range kernel.OpenError(kernel.OpenErrors) {
		if e.String() == "ECONNREFUSED" {
			return e
		}
	}
	t.Fatal("no ECONNREFUSED")
	return 0
}

func countsWhen(t *testing.T, w *Watcher, enough func(*Counts) bool) *Counts {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := w.Counts()
		if err != nil {
			t.Fatal(err)
		}
		if enough(c) || time.Now().After(end) {
			return c
		}
	}
}

// The rows of processes that have ended, and of listeners that are gone, leave the programs' map, and what they counted stays.
func TestAWatchersMapHoldsNothingOfWhatHasEnded(t *testing.T) {
	const rounds = 8
	w := newWatcher(t)
	if err := w.Count(); err != nil {
		t.Fatal(err)
	}
	look := func() {
		if _, err := w.Look(); err != nil {
			t.Fatal(err)
		}
	}
	for range rounds { // each has a process, a listener and a connection refused of its own
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		end := dialAndAccept(t, l)
		end()
		l.Close()
		if err := exec.Command("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/1").Run(); !errors.As(err, new(*exec.ExitError)) {
			t.Fatalf("a shell should be refused at port 1: %v", err)
		}
	}
	look()
	countsWhen(t, w, func(c *Counts) bool { return c.Errors[kernelRefused(t)] >= rounds })
	look()
	for _, what := range []string{"once", "again"} {
		c, err := w.Counts()
		if err != nil {
			t.Fatal(err)
		}
		if c.Errors[kernelRefused(t)] < rounds {
			t.Errorf("%s: %d refused are counted, want at least %d", what, c.Errors[kernelRefused(t)], rounds)
		}
	}
	rows := 0
	if err := w.counting.probes.Openers(func(id kernel.OpenerID, row *kernel.OpenerCounts) {
		if row.Comm == "bash" && errors.Is(unix.Kill(int(row.PID), 0), unix.ESRCH) {
			rows++
		}
	}); err != nil {
		t.Fatal(err)
	}
	if rows != 0 {
		t.Errorf("%d rows of shells that have ended", rows)
	}
}

func newWatcher(t *testing.T) *Watcher {
	t.Helper()
	w, err := NewWatcher(Options{NoCalibrate: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// dialAndAccept opens a connection, and gives what closes both its ends.
func dialAndAccept(t *testing.T, l net.Listener) func() {
	t.Helper()
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		client.Close()
		server.Close()
	}
}

// The sockets that are listed one by one are those of the groups that were asked for.
func TestRankedSocketsAreThoseAskedFor(t *testing.T) {
	w := newWatcher(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	defer dialAndAccept(t, l)()
	mine := func(state string) map[string]bool {
		w.Rank(func(g *recording.Group) bool { return g.PID == os.Getpid() && g.State == state })
		m, err := w.Look()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, e := range m.Top {
			if e.PID != os.Getpid() || e.State != state {
				t.Errorf("%s: listed is %+v", state, e)
			}
			found[e.Local] = true
		}
		return found
	}
	at := l.Addr().String()
	if got := mine("LISTEN"); !got[at] {
		t.Errorf("listening at %s: %v", at, got)
	}
	if got := mine("ESTABLISHED"); !got[at] || len(got) < 2 {
		t.Errorf("both ends of a connection at %s: %v", at, got)
	}
	if got := mine("SYN_SENT"); len(got) != 0 {
		t.Errorf("in no such state: %v", got)
	}
}
