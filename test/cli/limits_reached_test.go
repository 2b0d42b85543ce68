package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
)

// A number that nobody asked for is what the host can safely hold, with the limit that set it.
func TestDefaultNumberIsWhatFitsAndSaysWhatBoundsIt(t *testing.T) {
	m, err := limits.ReadMemory()
	if err != nil {
		t.Fatal(err)
	}
	const tooMany = 20 * 50_000 * 8 << 10
	if m.Share(1) > tooMany {
		t.Fatalf("1 %% of this machine's %d bytes holds a million connections: the test would prove nothing", m.AvailableBytes)
	}
	cmd := command(t, "run", "--allow-memory", "1", "-o", "rec.json")
	r := finish(t, cmd).exits(t, exitDone)
	rec := readOne(t, cmd.Dir+"/rec.json")
	l := rec.Load
	if l.Established != l.Requested || l.Requested == 0 || !strings.Contains(l.Capped, "memory") ||
		!strings.Contains(l.Capped, "--allow-memory") {
		t.Errorf("%+v, want all of a number that memory set", l)
	}
	// What was expected of a connection is what the account finds of all.
	var pages uint64
	for _, row := range rec.Endpoints {
		if row.Role != kernel.RoleListener {
			pages += row.PageBytes
		}
	}
	if each := pages / uint64(l.Established); l.ExpectedBytes < each*98/100 || l.ExpectedBytes > each*102/100 {
		t.Errorf("%d bytes were expected of a connection, it costs %d", l.ExpectedBytes, each)
	}
	if most := m.Share(1) * 11 / 10; pages > most {
		t.Errorf("%d bytes of slab pages, over the %d that are 1 %% of memory", pages, most)
	}
	says(t, "stdout", r.stdout, "fewer than wanted", "--allow-memory")
}

// What the least cost of a connection lets through, its real cost may not.
func TestWhatTheFirstConnectionsCostDecidesWhetherTheRunGoesOn(t *testing.T) {
	m, err := limits.ReadMemory()
	if err != nil {
		t.Fatal(err)
	}
	conns := m.Share(2) / (limits.LeastConnectionBytes + 512)
	leavesNoTrace(t, func(t *testing.T) {
		cmd := command(t, "run", "--conns", strconv.FormatUint(conns, 10), "--allow-memory", "2", "-o", "rec.json")
		r := finish(t, cmd)
		r.complains(t, exitFailed, "after the first 5000", "need about", "lower --conns to", "--allow-memory")
		if r.stdout != "" {
			t.Errorf("an account was printed: %s", r.stdout)
		}
		only(t, cmd.Dir)
	})
}

// reached is a run that something happens to in the middle of its ramp: what it then leaves and says.
func reached(t *testing.T, c *child, happen func(), names ...string) *recording.Machine {
	t.Helper()
	c.untilUp(t, crashConns)
	happen()
	r := c.wait(t)
	r.complains(t, exitFailed, append(names, "stopped early", "of 20000")...)
	rec := readOne(t, c.cmd.Dir+"/rec.json")
	if up := rec.Load.Established; up <= 0 || up >= crashConns || established(t, rec, kernel.RoleClient).Count < up {
		t.Errorf("%d connections up, and %+v", up, rec.Endpoints)
	}
	says(t, "stdout", r.stdout, "interrupted", "Client endpoints", "tcp_sock")
	// A path that is longer than a line goes over two.
	unbroken := func(text string) string { return strings.Join(strings.Fields(text), "") }
	for _, name := range names {
		says(t, "stdout, without blanks,", unbroken(r.stdout), unbroken(name))
	}
	return rec
}

func TestAFileLimitLoweredInTheMiddleIsNamed(t *testing.T) {
	for _, role := range []string{"client", "server"} {
		t.Run(role, func(t *testing.T) {
			leavesNoTrace(t, func(t *testing.T) {
				c := rampOf(t)
				rec := reached(t, c, func() {
					low := unix.Rlimit{Cur: 100, Max: 100}
					if err := unix.Prlimit(c.worker(role), unix.RLIMIT_NOFILE, &low, nil); err != nil {
						t.Fatal(err)
					}
				}, "RLIMIT_NOFILE", "too many open files")
				if rec.Load.Failed > 2000 {
					t.Errorf("%d attempts failed before the ramp was stopped", rec.Load.Failed)
				}
			})
			nextRunWorks(t)
		})
	}
}

func TestAFileTableLoweredInTheMiddleIsNamed(t *testing.T) {
	const sysctl = "/proc/sys/fs/file-max"
	was, err := os.ReadFile(sysctl)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(sysctl, was, 0); err != nil {
			t.Error(err)
		}
	})
	c := rampOf(t)
	reached(t, c, func() {
		f, err := limits.ReadFileTable()
		if err != nil {
			t.Fatal(err)
		}
		low := f.Max - f.Left() // no file is left but those spared for the host
		if err := os.WriteFile(sysctl, []byte(strconv.FormatUint(low, 10)), 0); err != nil {
			t.Fatal(err)
		}
	}, "fs.file-max")
}

// memoryCgroup is a memory cgroup of the test's own, as a subgroup of the test's in version 1 or of the root in 2.
type memoryCgroup struct{ dir, limit, usage string }

func newMemoryCgroup(t *testing.T) memoryCgroup {
	t.Helper()
	g := memoryCgroup{limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes"}
	parent := ""
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(own), "\n") {
		if parts := strings.SplitN(line, ":", 3); len(parts) == 3 && strings.Contains(","+parts[1]+",", ",memory,") {
			parent = filepath.Join("/sys/fs/cgroup/memory", parts[2])
		}
	}
	if parent == "" {
		parent, g.limit, g.usage = "/sys/fs/cgroup", "memory.max", "memory.current"
		if err := os.WriteFile(parent+"/cgroup.subtree_control", []byte("+memory"), 0); err != nil {
			t.Fatalf("give the memory controller to subgroups: %v", err)
		}
	}
	g.dir = filepath.Join(parent, fmt.Sprintf("connprof-test-%d", time.Now().UnixNano()))
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The kernel lets go of a group once the last process is quite gone.
		for end := time.Now().Add(childLimit); ; time.Sleep(10 * time.Millisecond) {
			err := os.Remove(g.dir)
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				return
			}
			if time.Now().After(end) {
				t.Errorf("remove the test's cgroup: %v", err)
				return
			}
		}
	})
	return g
}

func (g memoryCgroup) set(t *testing.T, bytes uint64) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, g.limit), []byte(strconv.FormatUint(bytes, 10)), 0); err != nil {
		t.Fatal(err)
	}
}

func (g memoryCgroup) used(t *testing.T) uint64 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(g.dir, g.usage))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAMemoryCgroupBoundsTheDefaultNumber(t *testing.T) {
	g := newMemoryCgroup(t)
	g.set(t, 256<<20)
	cmd := confined(t, "cgroup="+g.dir, "run", "-o", "rec.json")
	finish(t, cmd).exits(t, exitDone)
	l := readOne(t, cmd.Dir+"/rec.json").Load
	if l.Established != l.Requested || l.Requested > 128<<20/limits.LeastConnectionBytes || !strings.Contains(l.Capped, g.dir) {
		t.Errorf("%+v, want all of a number that %s set", l, g.dir)
	}
}

func TestAMemoryCgroupLoweredInTheMiddleIsNamed(t *testing.T) {
	g := newMemoryCgroup(t)
	leavesNoTrace(t, func(t *testing.T) {
		c := start(t, confined(t, "cgroup="+g.dir, "run", "--conns", "20k", "--rate", crashRate, "-o", "rec.json"))
		reached(t, c, func() { g.set(t, g.used(t)+40<<20) }, "memory cgroup", g.dir)
	})
	nextRunWorks(t)
}

// The load goes first when the kernel itself has to act.
func TestTheLoadIsTheOutOfMemoryKillersFirstChoice(t *testing.T) {
	c := rampOf(t)
	c.untilUp(t, crashConns)
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	for pid, want := range map[int]string{c.worker("client"): "1000", c.worker("server"): "1000",
		c.pid(): strings.TrimSpace(string(own))} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
		if err != nil || strings.TrimSpace(string(b)) != want {
			t.Errorf("process %d: oom_score_adj %s, %v, want %s", pid, b, err, want)
		}
	}
	c.signal(t, syscall.SIGINT)
	c.wait(t)
}
