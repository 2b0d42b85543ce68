package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
)

// The experiment with a server of the user's own.

// ownServer is the command of a test server that does what the words say.
func ownServer(t testing.TB, words ...string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{"--", self, serverWord, mark(t)}, words...)
}

// mark tells the servers of one test from others'.
func mark(t testing.TB) string { return "mark=" + t.Name() }

// against is a run of n connections against such a server.
func against(t testing.TB, n int, words []string, flags ...string) *exec.Cmd {
	t.Helper()
	all := append([]string{"run", "--ips", "2", "--conns", fmt.Sprint(n)}, flags...)
	return command(t, append(all, ownServer(t, words...)...)...)
}

// servers are the processes of a test's servers.
func servers(t testing.TB) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		text, _ := os.ReadFile(f)
		if args := strings.Split(string(text), "\x00"); len(args) > 2 && args[1] == serverWord && args[2] == mark(t) {
			pid, _ := strconv.Atoi(strings.Split(f, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

// noneLeft checks that no test server runs any more.
func noneLeft(t testing.TB) {
	t.Helper()
	if left := servers(t); len(left) > 0 {
		t.Errorf("servers run on: %v", left)
	}
}

// withServer checks a finished run of n connections against a server of so many processes.
func withServer(t testing.TB, cmd *exec.Cmd, n, processes int) (*recording.Machine, result) {
	t.Helper()
	r := finish(t, cmd)
	r.exits(t, exitDone)
	m := readOne(t, cmd.Dir+"/connprof.json")
	holds(t, check.End(m, kernel.RoleClient, n), check.Endpoints(m, kernel.RoleServer, n))
	s := m.Load.Server
	if s == nil || m.Load.Established != n || s.Memory.Processes != processes || s.Ended != "" || s.Memory.PSSBytes <= 0 ||
		s.Memory.PSSBytes > s.Memory.RSSBytes {
		t.Errorf("%d up, server %+v", m.Load.Established, s)
	}
	noneLeft(t)
	return m, r
}

func TestAServerOfYourOwn(t *testing.T) {
	cmd := against(t, 2000, nil, "--endpoints", "ends.csv")
	m, r := withServer(t, cmd, 2000, 1)
	if s := m.Load.Server; s.Address != "198.18.0.1:8080" || s.Backlog < 128 || s.CPUSeconds <= 0 {
		t.Errorf("%+v", s)
	}
	says(t, "the account", r.stdout, "One connection costs", "in the kernel and", "in the server", "The server", "user space (PSS)",
		"kernel stacks", "the client's")
	// Each accepted end is in the server's epoll set: the Go runtime's.
	for _, row := range m.Endpoints {
		if row.Role == kernel.RoleServer && !slices.ContainsFunc(row.Objects, func(o recording.ObjectRow) bool { return o.Type == "epitem" && o.Count == row.Count }) {
			t.Errorf("the server's ends have %+v", row.Objects)
		}
	}
	html := finish(t, command(t, "report", cmd.Dir+"/connprof.json", "--html", "-"))
	says(t, "the page", html.stdout, "The server", "user space (PSS)")
	if list, err := os.ReadFile(cmd.Dir + "/ends.csv"); err != nil || strings.Count(string(list), "\n") < 4000 {
		t.Errorf("the list of endpoints has %d lines: %v", strings.Count(string(list), "\n"), err)
	}
}

// What a server takes for a connection is told as it is: one that keeps 64 KiB for each has grown by that, and by its goroutines.
func TestWhatAServerTakesInUserSpaceIsTold(t *testing.T) {
	const n, each, most = 500, 64 << 10, 40 << 10
	const least = n * each * 95 / 100 // what the runtime had free before, or gives back meanwhile, is no growth
	m, _ := withServer(t, against(t, n, []string{fmt.Sprintf("hoard=%d", each)}), n, 1)
	g := m.Load.Server.Growth
	for what, bytes := range map[string]int64{"PSS": g.PSSBytes, "anonymous": g.AnonymousBytes, "RSS": g.RSSBytes} {
		if bytes < least || bytes > n*(each+most) {
			t.Errorf("%s has grown by %d bytes a connection, want %d to %d", what, bytes/n, least/n, each+most)
		}
	}
}

func TestServersOfSeveralProcesses(t *testing.T) {
	t.Run("workers", func(t *testing.T) { withServer(t, against(t, 1000, []string{"workers=3"}), 1000, 4) })
	t.Run("daemon", func(t *testing.T) { withServer(t, against(t, 1000, []string{"daemon"}), 1000, 1) })
}

func TestWhereAServerListens(t *testing.T) {
	for _, c := range []struct {
		name         string
		words, flags []string
		address      string
	}{
		{"late", []string{"after=1"}, nil, "198.18.0.1:8080"},
		{"on another address", []string{"address=127.0.0.1"}, nil, "127.0.0.1:8080"},
		{"on one of two ports", []string{"port=8443,8080"}, []string{"--server-port", "8443"}, "198.18.0.1:8443"},
		{"by IPv6", []string{"address=::"}, []string{"--ipv6"}, "[2001:2::1]:8080"},
		{"on both families", []string{"address=::"}, nil, "198.18.0.1:8080"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, _ := withServer(t, against(t, 200, c.words, c.flags...), 200, 1)
			if got := m.Load.Server.Address; got != c.address {
				t.Errorf("reached at %s, want %s", got, c.address)
			}
		})
	}
}

func TestAServerThatCannotBeReachedIsNamed(t *testing.T) {
	for _, c := range []struct {
		name         string
		words, flags []string
		says         []string
	}{
		{"dies", []string{"dies"}, nil, []string{"the server ended before it listened: exit status 7", "it last wrote: the configuration is broken"}},
		{"does not listen", []string{"after=1000"}, []string{"--server-wait", "1s"}, []string{"listens on no port", "it has had 1s (--server-wait)"}},
		{"listens elsewhere", nil, []string{"--server-wait", "1s", "--server-port", "9090"}, []string{"listens on port 8080 and not on 9090"}},
		{"listens twice", []string{"port=8080,8443"}, []string{"--server-wait", "1s"}, []string{"listens on ports 8080, 8443: say which by --server-port"}},
		{"listens by IPv6 alone", []string{"address=::1"}, []string{"--server-wait", "1s"}, []string{"[::1]:8080 alone: use --ipv6"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			finish(t, against(t, 200, c.words, c.flags...)).complains(t, exitFailed, c.says...)
			noneLeft(t)
		})
	}
	finish(t, command(t, "run", "--", "/no/such/program")).refuses(t, exitFailed, "start /no/such/program", "there is no such program")
}

// What a server does to its connections is told, and what there is is accounted for.
func TestAServerThatFailsItsConnectionsIsNamed(t *testing.T) {
	for _, c := range []struct {
		name         string
		words, flags []string
		says         []string
		up           int
	}{
		{"crashes", []string{"crash=500"}, nil, []string{"the server ended with", "signal: killed", "out of luck"}, 0},
		{"closes each third", []string{"closes=3"}, nil, []string{"200 of 600 connections"}, 400},
		{"accepts nothing", []string{"deaf"}, nil, []string{"the server has accepted 0 of", "wait in its accept queue"}, 0},
		{"says something else", []string{"greets=-ERR go away", "leaves"}, []string{"--expect", "PONG"},
			[]string{"600 of 600 connections", "the expected answer: something else came"}, 0},
		{"says too little", []string{"greets=hello"}, []string{"--expect", "100"}, []string{"600 of 600 connections", "something else came, and nothing more in time",
			`the first answer began "hello\r\n"`, "--expect 100 is a number of bytes"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cmd := against(t, 600, c.words, c.flags...)
			r := finish(t, cmd)
			r.complains(t, exitFailed, c.says...)
			m := readOne(t, cmd.Dir+"/connprof.json")
			if m.Load.Established != c.up || m.CountIn(kernel.RoleClient, "ESTABLISHED") != c.up && c.name != "accepts nothing" {
				t.Errorf("%d up, %d walked, want %d", m.Load.Established, m.CountIn(kernel.RoleClient, "ESTABLISHED"), c.up)
			}
			if strings.HasPrefix(c.name, "says something") && !strings.HasPrefix(m.Load.Exchange.OtherAnswer, "-ERR go away") {
				t.Errorf("the other answer is %q", m.Load.Exchange.OtherAnswer)
			}
			noneLeft(t)
		})
	}
	t.Run("accepts slowly", func(t *testing.T) {
		t.Parallel()
		withServer(t, against(t, 600, []string{"slow"}), 600, 1)
	})
}

// told are the figures that a test server tells at its end.
func told(t testing.TB, stderr string) (accepted, lines int) {
	t.Helper()
	for line := range strings.Lines(stderr) {
		if n, _ := fmt.Sscanf(line, "accepted %d lines %d", &accepted, &lines); n == 2 {
			return accepted, lines
		}
	}
	t.Fatalf("the server did not tell: %s", stderr)
	return 0, 0
}

// What is said on each connection arrives, and is said again as often as is told.
func TestWhatIsSaidOnAConnection(t *testing.T) {
	const n = 500
	t.Run("once", func(t *testing.T) {
		m, r := withServer(t, against(t, n, []string{"echo", "greets=hello"}, "--send", `PING\r\n`, "--expect", `hello\r\nPING`, "--server-output"), n, 1)
		if accepted, lines := told(t, r.stderr); accepted != n || lines != n {
			t.Errorf("the server has accepted %d and read %d lines, want %d each", accepted, lines, n)
		}
		if x := m.Load.Exchange; x == nil || x.SentBytes != 6 || x.Expected != `hello\r\nPING` || x.Asked != 0 {
			t.Errorf("%+v", x)
		}
	})
	t.Run("again", func(t *testing.T) {
		m, r := withServer(t, against(t, n, []string{"echo"}, "--send", `PING\n`, "--expect", "6", "--then", "repeat", "--every", "500ms",
			"--hold", "2s", "--server-output"), n, 1)
		x := m.Load.Exchange
		_, lines := told(t, r.stderr)
		if x.Asked == 0 || x.Answered+x.Unanswered > x.Asked || int64(lines) < int64(n)+x.Answered || x.EverySeconds != 0.5 {
			t.Errorf("%+v, and the server has read %d lines", x, lines)
		}
	})
	t.Run("a file", func(t *testing.T) {
		cmd := against(t, n, []string{"echo"}, "--send", "said.txt", "--expect", `^one\r\ntwo\r\n$`, "--server-output")
		if err := os.WriteFile(cmd.Dir+"/said.txt", []byte("one\ntwo\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, r := withServer(t, cmd, n, 1)
		if _, lines := told(t, r.stderr); lines != 2*n {
			t.Errorf("the server has read %d lines, want %d", lines, 2*n)
		}
	})
}

// The server is the invoking user's, and so is its environment.
func TestAServerIsTheInvokingUsers(t *testing.T) {
	cmd := against(t, 100, []string{"who"}, "--server-output")
	cmd.Env = append(cmd.Env, "SUDO_UID=65534", "SUDO_GID=65534")
	open, err := os.MkdirTemp("", "connprof-server-") // the folder of the test's own program is root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(open) })
	program, err := os.ReadFile(cmd.Args[slices.Index(cmd.Args, "--")+1])
	if err == nil {
		err = errors.Join(os.Chmod(open, 0o755), os.WriteFile(open+"/server.test", program, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args[slices.Index(cmd.Args, "--")+1] = open + "/server.test"
	_, r := withServer(t, cmd, 100, 1)
	says(t, "the server", r.stderr, "user 65534 group 65534")
}

// However a run ends, nothing is left of its server.
func TestTheEndOfARunIsTheServersEnd(t *testing.T) {
	for _, c := range []struct {
		name    string
		words   []string
		signals []syscall.Signal
	}{
		{"interrupted", nil, []syscall.Signal{syscall.SIGINT}},
		{"killed", nil, []syscall.Signal{syscall.SIGKILL}},
		{"killed, and the server is a daemon", []string{"daemon"}, []syscall.Signal{syscall.SIGKILL}},
		{"killed, and the server heeds no SIGTERM", []string{"stubborn", "workers=2"}, []syscall.Signal{syscall.SIGKILL}},
		{"aborted", []string{"stubborn"}, []syscall.Signal{syscall.SIGINT, syscall.SIGINT}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			run := start(t, against(t, 300, c.words, "--hold", "1h"))
			run.holding(t)
			for _, s := range c.signals {
				run.signal(t, s)
			}
			run.wait(t)
			for end := time.Now().Add(time.Minute); len(servers(t)) > 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			} // the guard's own patience is 5 s
			noneLeft(t)
		})
	}
}

func TestAServersEndInTheHoldIsTold(t *testing.T) {
	run := start(t, against(t, 300, nil, "--hold", "1h"))
	run.holding(t)
	for _, pid := range servers(t) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	run.wait(t).complains(t, exitFailed, "while the connections were held", "the server ended: signal: killed")
}

func TestAServerThatClosesIdleConnectionsIsNamed(t *testing.T) {
	run := start(t, against(t, 300, nil, "--hold", "1h", "--server-output"))
	run.holding(t)
	for _, pid := range servers(t) {
		if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
	}
	run.until(t, "all are closed", func() bool { return strings.Contains(run.stderr.String(), "closed 300\n") })
	run.ends(t, syscall.SIGINT).complains(t, exitFailed, "the server closed 300 of 300 connections while they were held")
	noneLeft(t)
}

func TestFlagsOfAServerThatMakeNoSenseAreRefused(t *testing.T) {
	server := ownServer(t)
	for _, c := range []struct {
		flags []string
		with  bool // a command
		says  string
	}{
		{[]string{"--send", "x"}, false, "--send is for a server of your own: name its command after --"},
		{[]string{"--then", "repeat"}, false, "--then is for a server of your own"},
		{[]string{"--"}, false, "there is no command after --"},
		{[]string{"server"}, false, "a command comes after --"},
		{[]string{"--then", "dance"}, true, "want idle or repeat"},
		{[]string{"--every", "5s"}, true, "--every is for --then repeat"},
		{[]string{"--then", "repeat"}, true, "there is nothing to repeat: add --send"},
		{[]string{"--send", "x", "--then", "repeat", "--every", "1ms"}, true, "want 100ms or more"},
		{[]string{"--expect", "("}, true, "is no regular expression"},
		{[]string{"--expect", "-1"}, true, "want 1 byte or more"},
		{[]string{"--expect", ""}, true, "want something that is not empty"},
		{[]string{"--send", `\q`}, true, "text in which a backslash begins"},
		{[]string{"--server-port", "0"}, true, "want a port from 1 to 65535"},
		{[]string{"--server-port", "65536"}, true, "want a port from 1 to 65535"},
		{[]string{"--server-wait", "0s"}, true, "want a time above 0"},
		{[]string{"--ports", "2"}, true, "a server of your own has one, --server-port"},
		{[]string{"--scenario", "hello"}, true, "a server of your own does as it does"},
		{[]string{"--scenario", "all"}, true, "leave out --target, and --scenario all"},
		{[]string{"--threads-per-connection"}, true, "is a server of connprof's"},
		{[]string{"--cycles", "2"}, true, "is for connprof's own server"},
		{[]string{"--after-close=1s"}, true, "is for connprof's own server"},
		{[]string{"--target", "192.0.2.1:8090", "--token", "x"}, true, "leave out --target"},
	} {
		args := append([]string{"run"}, c.flags...)
		if c.with {
			args = append(args, server...)
		}
		finish(t, command(t, args...)).refuses(t, exitUsage, c.says)
	}
}

// A server may be reached by one family alone.
func TestAServerThatTakesNoIPv4IsNamed(t *testing.T) {
	finish(t, against(t, 100, []string{"address=::", "v6only"})).complains(t, exitFailed, "takes no IPv4 there (IPV6_V6ONLY): use --ipv6")
	noneLeft(t)
	withServer(t, against(t, 100, []string{"address=::", "v6only"}, "--ipv6"), 100, 1)
}

// Much can be said on a connection.
func TestAMegabyteCanBeSaid(t *testing.T) {
	cmd := against(t, 20, []string{"echo"}, "--send", "said.txt", "--expect", "1000", "--server-output")
	if err := os.WriteFile(cmd.Dir+"/said.txt", []byte(strings.Repeat(strings.Repeat("x", 999)+"\n", 1000)), 0o644); err != nil {
		t.Fatal(err)
	}
	m, r := withServer(t, cmd, 20, 1)
	if _, lines := told(t, r.stderr); lines != 20*1000 || m.Load.Exchange.SentBytes != 1_000_000 {
		t.Errorf("%d lines of %+v", lines, m.Load.Exchange)
	}
}
