package load

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func threadConfig(t *testing.T, scenario string, connections int) Config {
	t.Helper()
	c := testConfig(t, 5, connections)
	c.Scenario, c.ThreadPerConnection = scenario, true
	return c
}

// threadsIn counts a process's threads, as the kernel lists them.
func threadsIn(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// sleepers counts a process's threads that wait in read(2).
func sleepers(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	n, read := 0, fmt.Sprintf("%d ", unix.SYS_READ)
	for _, e := range entries {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/syscall", pid, e.Name()))
		if err == nil && strings.HasPrefix(string(b), read) {
			n++
		}
	}
	return n
}

func rampUp(t *testing.T, c Config) *Engine {
	t.Helper()
	e := start(t, c)
	if err := e.Begin(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, e, "ramp", allUp(c.Connections))
	return e
}

func TestEveryConnectionHasAThreadOfItsOwn(t *testing.T) {
	const n = 500
	c := threadConfig(t, "idle", n)
	e := start(t, c)
	_, server := e.PIDs()
	before := threadsIn(t, server)
	if err := e.Begin(); err != nil {
		t.Fatal(err)
	}
	p := waitFor(t, e, "ramp", allUp(n))
	if p.Failed != 0 || p.Lost != 0 || len(e.Failures()) != 0 {
		t.Errorf("%+v, failures %v", p, e.Failures())
	}
	// The runtime may start a thread or two of its own, which do not read.
	if after := threadsIn(t, server); after < before+n || after > before+n+8 {
		t.Errorf("%d threads before the first connection and %d after the last of %d", before, after, n)
	}
	// So does the main thread, for commands.
	waitFor(t, e, "all threads in read(2)", func(Progress) bool {
		reading := sleepers(t, server) - ReservedThreads
		return reading == n || reading == n+1
	})
	if _, servers := established(t, c.Ports[0]); servers != n {
		t.Errorf("the kernel lists %d server sockets, want %d", servers, n)
	}
	e.End()
	if err := unix.Kill(server, 0); err != unix.ESRCH {
		t.Errorf("the server is still there after its end: %v", err)
	}
	rampUp(t, threadConfig(t, "idle", n)) // and the next one works
}

func TestThreadsAnswerWhatTheyAreSent(t *testing.T) {
	const n = 500
	c := threadConfig(t, "hello", n)
	e := rampUp(t, c)
	hello, _ := FindScenario("hello")
	if err := e.Arrange(hello, time.Minute); err != nil {
		t.Fatal(err)
	}
	if acted := e.shared.acted.Load(); acted != 2*n || len(e.Failures()) != 0 {
		t.Errorf("the client did %d things with %d connections, want 2 with each; failures %v", acted, n, e.Failures())
	}
	waitFor(t, e, "each thread to have waited for the greeting, and to wait again", func(Progress) bool {
		_, server := e.ContextSwitches()
		return server.Voluntary >= 2*n
	})
}

func TestThreadsEndWithTheirConnections(t *testing.T) {
	const n = 300
	e := rampUp(t, threadConfig(t, "idle", n))
	client, server := e.PIDs()
	before := threadsIn(t, server)
	if err := unix.Kill(client, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, e, "losses", func(p Progress) bool { return p.Lost == n })
	waitFor(t, e, "end of the threads", func(Progress) bool { return threadsIn(t, server) <= before-n })
}

func TestThreadsAreNotBoundByOneFileTable(t *testing.T) {
	if !inProcessWithFiles(t, "256") {
		return
	}
	limitFiles(t, 256)
	e := rampUp(t, threadConfig(t, "idle", 500))
	if len(e.Failures()) != 0 {
		t.Errorf("failures %v", e.Failures())
	}
}

func TestScenariosWithoutAThreadedServerAreRefused(t *testing.T) {
	for _, s := range Scenarios {
		err := Config{Scenario: s.Name, ThreadPerConnection: true}.checkThreads()
		if works := s.Name == "idle" || s.Name == "hello"; (err == nil) != works {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
}

func TestBothProcessesTellTheirSwitches(t *testing.T) {
	e := rampUp(t, testConfig(t, 2, 200))
	client, server := e.ContextSwitches()
	if client.Voluntary <= 0 || server.Voluntary <= 0 {
		t.Errorf("client %+v, server %+v: both have waited for each other", client, server)
	}
	_, pid := e.PIDs()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-e.Ended()
	if _, gone := e.ContextSwitches(); gone != (Switches{}) {
		t.Errorf("a process that is gone tells %+v", gone)
	}
}

// The thread alone, in this process: what make test runs on one architecture an emulator can run on the other.
func TestAThreadEchoesUntilTheOtherEndCloses(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var lost counter
	if e := startThread(ends[1], &lost); e != 0 {
		t.Fatal(e)
	}
	for _, text := range []string{"Hello, world!", "once more", strings.Repeat("long", 100)} {
		if _, err := unix.Write(ends[0], []byte(text)); err != nil {
			t.Fatal(err)
		}
		if e := transfer(unix.Read, unix.POLLIN, ends[0], make([]byte, len(text))); e != 0 {
			t.Fatalf("%q did not come back: %v", text, e)
		}
	}
	if n := lost.Load(); n != 0 {
		t.Errorf("%d losses before the end", n)
	}
	unix.Close(ends[0])
	for end := time.Now().Add(time.Minute); lost.Load() != 1 || unix.Fsync(ends[1]) != unix.EBADF; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after the end: %d losses, want 1, and fd %d to be closed", lost.Load(), ends[1])
		}
	}
}

func TestReservedThreadsEndWhenTheyAreReleased(t *testing.T) {
	r, err := newReserve()
	if err != nil {
		t.Fatal(err)
	}
	if n := r.gone.Load(); n != 0 {
		t.Errorf("%d ended at once", n)
	}
	r.release()
	for end := time.Now().Add(time.Minute); r.gone.Load() != ReservedThreads; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d reserved threads ended", r.gone.Load(), ReservedThreads)
		}
	}
}
