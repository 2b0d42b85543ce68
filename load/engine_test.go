package load

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
)

func errnoNumber(n int) syscall.Errno { return syscall.Errno(n) }

func TestMain(m *testing.M) {
	WorkerMain()
	os.Exit(apartFromOthers(m))
}

// apartFromOthers runs the tests in a network namespace of their own. Nobody else takes a port there, and what the kernel lists is
// theirs: a list of sockets is read in pieces, and repeats some where others come and go.
func apartFromOthers(m *testing.M) int {
	const env = "CONNPROF_TEST_NETNS"
	if os.Getenv(env) == "" {
		runtime.LockOSThread() // the child ends with its parent, which is this thread
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env+"=own"), os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Run(); cmd.ProcessState == nil {
			fmt.Fprintln(os.Stderr, "start the tests in a network namespace of their own, which needs root:", err)
			return 1
		}
		return cmd.ProcessState.ExitCode()
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "set lo up:", err)
		return 1
	}
	return m.Run()
}

// freePort finds a port that nothing listens on.
func freePort(t testing.TB) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func testConfig(t testing.TB, clients, connections int) Config {
	return Config{End: kernel.RoleBoth, Clients: addresses(clients), Server: netip.MustParseAddr("127.0.0.1"), Ports: []uint16{freePort(t)},
		Connections: connections, Backlog: 4096, Timeout: 10 * time.Second}
}

func start(t testing.TB, c Config) *Engine {
	t.Helper()
	e, err := Start(c, (*exec.Cmd).Start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.End)
	return e
}

// waitFor waits until the condition holds, or fails the test after a minute.
func waitFor(t testing.TB, e *Engine, what string, ok func(Progress) bool) Progress {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		p := e.Progress()
		if ok(p) {
			return p
		}
		if time.Now().After(end) {
			t.Fatalf("%s: still %+v after a minute, failures %v, processes %v", what, p, e.Failures(), e.Err())
		}
	}
}

func allUp(n int) func(Progress) bool {
	return func(p Progress) bool { return p.Established == n && p.Accepted == n }
}

// established counts this host's ESTABLISHED sockets by local address, as the kernel lists them.
func established(t *testing.T, serverPort uint16) (clients map[string]int, servers int) {
	t.Helper()
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	port := strings.ToUpper(hex16(serverPort))
	clients = map[string]int{}
	for _, line := range strings.Split(string(b), "\n")[1:] {
		f := strings.Fields(line)
		if len(f) < 4 || f[3] != "01" {
			continue
		}
		local, remote := strings.Split(f[1], ":"), strings.Split(f[2], ":")
		if remote[1] == port {
			clients[local[0]]++
		}
		if local[1] == port {
			servers++
		}
	}
	return clients, servers
}

func hex16(n uint16) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[n>>12], digits[n>>8&15], digits[n>>4&15], digits[n&15]})
}

func TestAllConnectionsAskedForAreEstablished(t *testing.T) {
	c := testConfig(t, 20, 2_003)
	e := start(t, c)
	if err := e.Begin(); err != nil {
		t.Fatal(err)
	}
	p := waitFor(t, e, "ramp", allUp(c.Connections))
	if p.Failed != 0 || p.Attempted != c.Connections || p.Lost != 0 {
		t.Errorf("%+v, want %d attempted, none failed or lost", p, c.Connections)
	}
	if p.First <= 0 || p.Last < p.First {
		t.Errorf("first connect at %v, last up at %v", p.First, p.Last)
	}
	clients, servers := established(t, c.Ports[0])
	if servers != c.Connections || len(clients) != 20 {
		t.Errorf("the kernel lists %d server sockets and %d client addresses, want %d and 20", servers, len(clients), c.Connections)
	}
	for a, n := range clients {
		if n != 100 && n != 101 {
			t.Errorf("address %s has %d connections, want 100 or 101", a, n)
		}
	}
}

func TestEndClosesEverySocket(t *testing.T) {
	c := testConfig(t, 2, 500)
	e := start(t, c)
	if err := e.Begin(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, e, "ramp", allUp(c.Connections))
	client, server := e.PIDs()
	e.End()
	for _, pid := range []int{client, server} {
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("process %d is still there: %v", pid, err)
		}
	}
	if clients, servers := established(t, c.Ports[0]); len(clients) != 0 || servers != 0 {
		t.Errorf("the kernel still lists %v and %d sockets", clients, servers)
	}
}

func TestStoppedRampLeavesWhatIsUp(t *testing.T) {
	c := testConfig(t, 4, 20_000)
	c.Rate = 2_000
	e := start(t, c)
	if err := e.Begin(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, e, "first connections", func(p Progress) bool { return p.Established >= 200 })
	e.StopRamp()
	var last Progress
	quiet := waitFor(t, e, "quiet", func(p Progress) bool {
		still := p == last && p.Established == p.Accepted && p.Established+p.Failed == p.Attempted
		last = p
		return still
	})
	if quiet.Established < 200 || quiet.Established >= c.Connections || quiet.Lost != 0 {
		t.Errorf("%+v after the stop, want some but not all up and none lost", quiet)
	}
}

func TestServerThatDiesIsReportedWithItsConnections(t *testing.T) {
	c := testConfig(t, 2, 1_000)
	e := start(t, c)
	if err := e.Begin(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, e, "ramp", allUp(c.Connections))
	_, server := e.PIDs()
	if err := unix.Kill(server, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-e.Ended()
	if err := e.Err(); err == nil || !strings.Contains(err.Error(), "load server ended: signal: killed") {
		t.Errorf("error %v, want one that says the load server was killed", err)
	}
	waitFor(t, e, "losses", func(p Progress) bool { return p.Lost == c.Connections })
}

func TestRefusedConnectionsAreCountedWithTheirReason(t *testing.T) {
	c := testConfig(t, 1, 50)
	e := start(t, c)
	// The client alone: its server is gone before the first connect.
	_, server := e.PIDs()
	if err := unix.Kill(server, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-e.Ended()
	_ = e.Begin() // the server cannot be told any more
	client := e.workers[1]
	if _, err := client.control.Write([]byte{commandBegin}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, e, "failures", func(p Progress) bool { return p.Failed == c.Connections })
	failures := e.Failures()
	if len(failures) != 1 || failures[0].Errno != unix.ECONNREFUSED || failures[0].Count != c.Connections {
		t.Errorf("failures %+v, want %d x connect: connection refused", failures, c.Connections)
	}
}

func TestPortInUseIsAClearError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := testConfig(t, 1, 10)
	c.Ports = []uint16{uint16(l.Addr().(*net.TCPAddr).Port)}
	e, err := Start(c, (*exec.Cmd).Start)
	if err == nil {
		e.End()
		t.Fatal("started on a port in use")
	}
	if !strings.Contains(err.Error(), "address already in use") || !strings.Contains(err.Error(), "load server") {
		t.Errorf("error %q, want one that names the load server and the address in use", err)
	}
}

// inProcessWithFiles runs the named test again in a process whose RLIMIT_NOFILE is lowered for good.
func inProcessWithFiles(t *testing.T, files string) (inner bool) {
	t.Helper()
	const env = "CONNPROF_TEST_NOFILE"
	if os.Getenv(env) == files {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), env+"="+files)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("with %s files: %v\n%s", files, err, out)
	}
	return false
}

func limitFiles(t *testing.T, n uint64) {
	t.Helper()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		t.Fatal(err)
	}
}

func TestLowFileLimitOnlyMeansMoreShards(t *testing.T) {
	if !inProcessWithFiles(t, "1024") {
		return
	}
	limitFiles(t, 1024)
	c := testConfig(t, 2, 5_000)
	e := start(t, c)
	if err := e.Begin(); err != nil {
		t.Fatal(err)
	}
	if p := waitFor(t, e, "ramp", allUp(c.Connections)); p.Failed != 0 {
		t.Errorf("%+v, failures %v", p, e.Failures())
	}
}

func TestHopelessFileLimitIsAClearError(t *testing.T) {
	if !inProcessWithFiles(t, "100") {
		return
	}
	limitFiles(t, 100)
	e, err := Start(testConfig(t, 1, 10), (*exec.Cmd).Start)
	if err == nil {
		e.End()
		t.Fatal("started with 100 files")
	}
	if !strings.Contains(err.Error(), "RLIMIT_NOFILE is 100") || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("error %q, want one that names the limit and the fix", err)
	}
}

func BenchmarkRamp(b *testing.B) {
	const connections = 20_000
	for b.Loop() {
		e := start(b, testConfig(b, 20, connections))
		begun := time.Now()
		if err := e.Begin(); err != nil {
			b.Fatal(err)
		}
		waitFor(b, e, "ramp", allUp(connections))
		b.ReportMetric(connections/time.Since(begun).Seconds(), "connections/s")
		e.End()
	}
}

func TestLimitHoldsTheRampExactlyAndLetsItGoOn(t *testing.T) {
	c := testConfig(t, 3, 1_500)
	e := start(t, c)
	e.Limit(501)
	if err := e.Begin(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, e, "limited ramp", allUp(501))
	time.Sleep(50 * time.Millisecond)
	if p := e.Progress(); p.Attempted != 501 || p.Accepted != 501 {
		t.Errorf("under a limit of 501: %+v", p)
	}
	e.Limit(1_000)
	waitFor(t, e, "second limit", allUp(1_000))
	e.Limit(c.Connections)
	if p := waitFor(t, e, "ramp", allUp(c.Connections)); p.Attempted != c.Connections || p.Failed != 0 {
		t.Errorf("without a limit: %+v", p)
	}
}

func TestRampCanBeStoppedWhileItWaitsAtALimit(t *testing.T) {
	c := testConfig(t, 1, 40_000)
	e := start(t, c)
	e.Limit(64)
	if err := e.Begin(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, e, "limited ramp", allUp(64))
	e.StopRamp()
	time.Sleep(50 * time.Millisecond) // the shards look once a millisecond
	e.Limit(c.Connections)
	time.Sleep(50 * time.Millisecond)
	if p := e.Progress(); p.Attempted != 64 {
		t.Errorf("stopped at 64, and yet %+v", p)
	}
}

// Connections that are closed by a reset leave nothing in TIME_WAIT, whose memory would outlive the run.
func TestEndLeavesNoTimeWait(t *testing.T) {
	c := testConfig(t, 2, 400)
	e := start(t, c)
	if err := e.Begin(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, e, "ramp", allUp(c.Connections))
	e.End()
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	// Ours are between the server's port and the first client ports; others may use the same port for something else.
	server := ":" + strings.ToUpper(hex16(c.Ports[0]))
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		for client := FirstClientPort; len(f) > 3 && client < FirstClientPort+c.Connections; client++ {
			other := ":" + strings.ToUpper(hex16(uint16(client)))
			if strings.HasSuffix(f[1], server) && strings.HasSuffix(f[2], other) ||
				strings.HasSuffix(f[2], server) && strings.HasSuffix(f[1], other) {
				t.Fatalf("still there: %s", line)
			}
		}
	}
}
