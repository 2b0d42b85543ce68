package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/recording"
)

// threadsOf counts the threads of a process as the kernel lists them, 0 when it is gone.
func threadsOf(pid int) int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return len(entries)
}

func TestEachConnectionIsServedByAThreadAndNoneIsLeft(t *testing.T) {
	const n = 500
	leavesNoTrace(t, func(t *testing.T) {
		c := start(t, command(t, "run", "--threads-per-connection", "--conns", strconv.Itoa(n), "--hold", "1h", "-o", "rec.json"))
		c.until(t, "the account", func() bool { return strings.Contains(c.stdout.String(), "Call paths") })
		if threads := threadsOf(c.worker("server")); threads < n || threads > n+80 {
			t.Errorf("%d threads serve %d connections", threads, n)
		}
		c.signal(t, syscall.SIGINT)
		r := c.wait(t).exits(t, exitDone)
		says(t, "stdout", r.stdout, "Two servers", "thread/epoll", "connections/s", "switches a connection", "kernel stacks",
			"beside the threads'", "task_struct")
		rec := readOne(t, c.cmd.Dir+"/rec.json")
		checkCounts(t, rec, n)
		if l := rec.Load; l.ServerModel != recording.ModelThread || l.ComparedWith == nil || l.ComparedWith.Established != n {
			t.Errorf("%+v", l)
		}
		// The report says it again.
		report := connprof(t, "report", c.cmd.Dir+"/rec.json").exits(t, exitDone).stdout
		says(t, "the report", report, section(t, r.stdout, "Two servers"))
		says(t, "the page", connprof(t, "report", c.cmd.Dir+"/rec.json", "--html", "-").exits(t, exitDone).stdout, "two servers",
			"kernel stacks: epoll")
	})
	nextRunWorks(t)
}

// section is a part of a report, up to the next empty line.
func section(t *testing.T, text, title string) string {
	t.Helper()
	at := strings.Index(text, title)
	if at < 0 {
		t.Fatalf("no section %q in\n%s", title, text)
	}
	part, _, _ := strings.Cut(text[at:], "\n\n")
	return part
}

func TestAFileLimitDoesNotLimitThreads(t *testing.T) {
	const n = 1500
	cmd := confined(t, "files=512", "run", "--threads-per-connection", "--conns", strconv.Itoa(n), "-o", "connprof.json")
	counted(t, cmd, n)
}

func TestMoreThreadsThanTheHostAllowsAreRefused(t *testing.T) {
	r := connprof(t, "run", "--threads-per-connection", "--ips", "254", "--ports", "100", "--conns", "10M")
	r.refuses(t, exitFailed, "10000000 connections with a thread each need", "and it is", "lower --conns to")
	r = connprof(t, "run", "--threads-per-connection", "--conns", "1k", "--scenario", "time-wait")
	r.refuses(t, exitUsage, "--scenario time-wait", "--threads-per-connection", "idle and hello")
}

// threadedRamp is a run in the middle of its second ramp, that of the server with threads.
func threadedRamp(t *testing.T, confinement string) *child {
	t.Helper()
	args := []string{"run", "--threads-per-connection", "--conns", "2k", "--rate", "1k", "-o", "rec.json"}
	cmd := command(t, args...)
	if confinement != "" {
		cmd = confined(t, confinement, args...)
	}
	c := start(t, cmd)
	c.until(t, "some threads", func() bool { return threadsOf(c.worker("server")) > 300 })
	return c
}

func TestASignalInTheFirstOfTwoRunsAccountsForThatOne(t *testing.T) {
	leavesNoTrace(t, func(t *testing.T) {
		c := start(t, command(t, "run", "--threads-per-connection", "--conns", "5k", "--rate", "1k", "-o", "rec.json",
			"--endpoints", "ep.csv"))
		c.untilUp(t, 5000)
		c.signal(t, syscall.SIGINT)
		c.wait(t).complains(t, exitFailed, "interrupted", "of 5000")
		rec := readOne(t, c.cmd.Dir+"/rec.json")
		if l := rec.Load; l.ServerModel != recording.ModelEpoll || l.ComparedWith != nil || l.Established <= 0 {
			t.Errorf("%+v", l)
		}
		rows := strings.Count(string(readFile(t, c.cmd.Dir+"/ep.csv")), "\n")
		if want := 1 + 2*rec.Load.Established + 1; rows != want {
			t.Errorf("%d rows in the list of endpoints, want %d", rows, want)
		}
	})
}

// stoppedThreads checks what a run leaves whose server could not go on.
func stoppedThreads(t *testing.T, c *child, names ...string) *recording.Machine {
	t.Helper()
	r := c.wait(t)
	r.complains(t, exitFailed, append(names, "stopped early", "of 2000")...)
	rec := readOne(t, c.cmd.Dir+"/rec.json")
	if up := rec.Load.Established; rec.Load.ServerModel != recording.ModelThread || up >= 2000 || rec.Load.ComparedWith == nil {
		t.Errorf("%+v", rec.Load)
	}
	says(t, "stdout", r.stdout, append(names, "interrupted")...)
	return rec
}

func TestTheDeathOfAServerWithThreadsIsReported(t *testing.T) {
	leavesNoTrace(t, func(t *testing.T) {
		c := threadedRamp(t, "")
		if err := syscall.Kill(c.worker("server"), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		stoppedThreads(t, c, "the load server ended", "killed")
	})
	nextRunWorks(t)
}

func TestAKilledRunLeavesNoThreads(t *testing.T) {
	leavesNoTrace(t, func(t *testing.T) {
		c := threadedRamp(t, "")
		server := c.worker("server")
		c.signal(t, syscall.SIGKILL)
		c.wait(t)
		for end := time.Now().Add(childLimit); threadsOf(server) > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d threads are left", threadsOf(server))
			}
		}
	})
	nextRunWorks(t)
}

// newPidsCgroup is a cgroup of the test's own that bounds threads.
func newPidsCgroup(t *testing.T) string {
	t.Helper()
	parent := "/sys/fs/cgroup/pids"
	if _, err := os.Stat(parent); err != nil { // version 2
		parent = "/sys/fs/cgroup"
		if err := os.WriteFile(parent+"/cgroup.subtree_control", []byte("+pids"), 0); err != nil {
			t.Fatalf("give the pids controller to subgroups: %v", err)
		}
	}
	dir := filepath.Join(parent, fmt.Sprintf("connprof-test-%d", time.Now().UnixNano()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(childLimit); ; time.Sleep(10 * time.Millisecond) {
			err := os.Remove(dir)
			if err == nil {
				return
			}
			if time.Now().After(end) {
				t.Errorf("remove the test's cgroup: %v", err)
				return
			}
		}
	})
	return dir
}

func setPidsMax(t *testing.T, dir string, n int) {
	t.Helper()
	if err := os.WriteFile(dir+"/pids.max", []byte(strconv.Itoa(n)), 0); err != nil {
		t.Fatal(err)
	}
}

func TestACgroupThatAllowsFewerThreadsIsNamed(t *testing.T) {
	dir := newPidsCgroup(t)
	setPidsMax(t, dir, 700)
	r := finish(t, confined(t, "cgroup="+dir, "run", "--threads-per-connection", "--conns", "1k"))
	r.refuses(t, exitFailed, dir+"/pids.max", "it is 700", "lower --conns to")
	// A number that nobody asked for is what fits.
	cmd := confined(t, "cgroup="+dir, "run", "--threads-per-connection", "-o", "rec.json")
	finish(t, cmd).exits(t, exitDone)
	if l := readOne(t, cmd.Dir+"/rec.json").Load; l.Established != l.Requested || l.Requested < 500 || l.Requested > 700 ||
		!strings.Contains(l.Capped, dir+"/pids.max = 700") {
		t.Errorf("%+v", l)
	}
}

// A program of Go's that is refused a thread ends with a traceback, and exit status 2.
func TestTooFewThreadsForTheProgramItselfAreNamed(t *testing.T) {
	dir := newPidsCgroup(t)
	for max, wants := range map[int][]string{
		1:  {"refused a thread", "pids.max"}, // not even the runtime starts
		5:  {"run: connprof needs", "threads and " + dir + "/pids.max = 5", "leaves it 5", "> " + dir + "/pids.max"},
		20: {"run: connprof needs", "threads and " + dir + "/pids.max = 20", "> " + dir + "/pids.max"},
	} {
		setPidsMax(t, dir, max)
		finish(t, underCgroup(t, dir, "run", "--conns", "300")).refuses(t, exitFailed, wants...)
	}
	setPidsMax(t, dir, 20)
	finish(t, underCgroup(t, dir, "serve", "--listen", "127.0.0.1:18099")).refuses(t, exitFailed, "serve: connprof needs", dir)
}

// underCgroup is a child that joins a cgroup by a shell: a program that has threads of its own would need room for them.
func underCgroup(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := command(t, args...)
	cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `echo 0 >"$0"/cgroup.procs && exec "$@"`, dir, program}, args...)
	return cmd
}

func TestAThreadThatTheKernelRefusesEndsTheRampAndNamesTheLimit(t *testing.T) {
	dir := newPidsCgroup(t)
	leavesNoTrace(t, func(t *testing.T) {
		c := threadedRamp(t, "cgroup="+dir)
		used, err := strconv.Atoi(strings.TrimSpace(string(readFile(t, dir+"/pids.current"))))
		if err != nil {
			t.Fatal(err)
		}
		setPidsMax(t, dir, used+100)
		rec := stoppedThreads(t, c, dir+"/pids.max", "thread: resource temporarily unavailable")
		if rec.Load.Established < 300 || len(rec.Load.Failures) != 1 {
			t.Errorf("%+v", rec.Load)
		}
	})
	nextRunWorks(t)
}
