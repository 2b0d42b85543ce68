package experiment

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
)

// madeUpHost is a host with the given limits on threads, 172 of which are in use, and no cgroup.
func madeUpHost(t *testing.T, threadsMax, pidMax, mapCount int) limits.Host {
	t.Helper()
	return limits.Host{Root: madeUpFiles(t, map[string]string{
		"/proc/sys/kernel/threads-max": fmt.Sprint(threadsMax),
		"/proc/sys/kernel/pid_max":     fmt.Sprint(pidMax),
		"/proc/sys/vm/max_map_count":   fmt.Sprint(mapCount),
		"/proc/loadavg":                "0.10 0.20 0.30 1/172 4711",
	})}
}

// madeUpFiles are files with these texts below a directory.
func madeUpFiles(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for path, text := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestLimitsOnThreadsAreNamedWithTheFix(t *testing.T) {
	for _, c := range []struct {
		threadsMax, pidMax, mapCount int
		says                         []string
	}{
		{4_000, 32_768, 65_530, []string{"kernel.threads-max = 5536", "it is 4000", "--conns to 3464", "sysctl -w kernel.threads-max=6536"}},
		{192_730, 3_000, 65_530, []string{"kernel.pid_max = 5536", "it is 3000", "--conns to 2464", "sysctl -w kernel.pid_max="}},
		{192_730, 32_768, 2_000, []string{"vm.max_map_count = 11128", "two for each thread's stack", "--conns to 436", "sysctl -w vm.max_map_count="}},
		{400, 32_768, 65_530, []string{"kernel.threads-max = 5536", "it is 400; run: sysctl"}},
		{4_000, 3_000, 2_000, []string{"vm.max_map_count"}}, // the tightest is the one to speak of
	} {
		h := madeUpHost(t, c.threadsMax, c.pidMax, c.mapCount)
		p := &Plan{Options: Options{ThreadPerConnection: true, Conns: 5000}, Conns: 5000}
		err := p.fitThreads(h)
		for _, text := range c.says {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%+v: %v, want it to say %q", c, err, text)
			}
		}
		p.Options.ThreadPerConnection = false
		if err := p.fitThreads(h); err != nil {
			t.Errorf("%+v binds epoll as well: %v", c, err)
		}
	}
}

func TestANumberNobodyAskedForIsWhatTheLimitsOnThreadsLetThrough(t *testing.T) {
	p := &Plan{Options: Options{ThreadPerConnection: true}, Conns: 1_000_000}
	if err := p.fitThreads(madeUpHost(t, 192_730, 20_000, 65_530)); err != nil {
		t.Fatal(err)
	}
	if p.Conns != 20_000-172-300-ownThreads || !strings.Contains(p.Capped, "kernel.pid_max = 20000") {
		t.Errorf("%d connections, bound by %q", p.Conns, p.Capped)
	}
}

func TestTheLimitBehindARefusedThreadIsNamed(t *testing.T) {
	for _, c := range []struct {
		threadsMax, pidMax, mapCount int
		refusal                      syscall.Errno
		says                         string
	}{
		{500, 32_768, 65_530, syscall.EAGAIN, "kernel.threads-max = 500"},
		{192_730, 500, 65_530, syscall.EAGAIN, "kernel.pid_max = 500"},
		{192_730, 32_768, 3_000, syscall.ENOMEM, "vm.max_map_count = 3000"},
		{192_730, 32_768, 65_530, syscall.ENOMEM, ""}, // memory itself
	} {
		h := madeUpHost(t, c.threadsMax, c.pidMax, c.mapCount)
		if got := nearestLimit(h, c.refusal, 990); got != c.says {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// Package limits has every limit by the name that is used here.
func TestLimitsOnThreadsAreKnown(t *testing.T) {
	var names []string
	for _, row := range threadRows(limits.Host{}, 1) {
		names = append(names, row.Limit)
	}
	for _, name := range threadLimits {
		if !slices.Contains(names, name) {
			t.Errorf("%q is not among the limits %v", name, names)
		}
	}
}

func TestAThreadedRunIsAccountedForBesideAnEpollRun(t *testing.T) {
	const n = 500
	o := options(n)
	o.ThreadPerConnection = true
	measured := 0
	o.Measured = func(*recording.Recording) error { measured++; return nil }
	if err := check.Settled(); err != nil {
		t.Fatal(err)
	}
	rec := mustRun(t, o)
	l := rec.Load
	if l.Established != n || l.Failed != 0 || measured != 1 {
		t.Errorf("%+v, measured %d times", l, measured)
	}
	epoll := l.ComparedWith
	if epoll == nil || l.ServerModel != recording.ModelThread || epoll.ServerModel != recording.ModelEpoll || epoll.Established != n {
		t.Fatalf("%s beside %+v", l.ServerModel, epoll)
	}
	if l.Threads < n || l.Threads > n+ownThreads || epoll.Threads > 30 {
		t.Errorf("%d threads, with epoll %d", l.Threads, epoll.Threads)
	}
	// A thread sleeps once, in read(2).
	if l.ContextSwitches.Server.Voluntary < n*9/10 || epoll.ContextSwitches.Server.Voluntary <= 0 || epoll.ConnectsPerSecond <= 0 {
		t.Errorf("context switches %+v, with epoll %+v", *l.ContextSwitches, *epoll.ContextSwitches)
	}
	checkThreadMemory(t, rec, n)
	for _, typ := range []string{"epitem", "eppoll_entry"} {
		if _, objects := check.Objects(rec, kernel.RoleServer, "ESTABLISHED"); objects[typ] != 0 {
			t.Errorf("%d of %s with a server that does not use epoll", objects[typ], typ)
		}
		if _, objects := check.Objects(rec, kernel.RoleClient, "ESTABLISHED"); objects[typ] != n {
			t.Errorf("%d of %s with the client, want %d", objects[typ], typ, n)
		}
	}
	if err := check.Types(rec); err != nil {
		t.Error(err)
	}
}

// checkThreadMemory holds the threads' memory against what it must be at least.
func checkThreadMemory(t *testing.T, rec *recording.Machine, n int64) {
	t.Helper()
	page := int64(os.Getpagesize())
	g := rec.Load.Growth
	if g == nil || rec.Load.ComparedWith.Growth == nil {
		t.Fatalf("no growth of memory: %+v", rec.Load.ServerCost)
	}
	epoll := rec.Load.ComparedWith.Growth
	if g.ServerUserBytes < page*n || check.Quiet && (g.KernelStackBytes < 2*page*n || g.SlabBytes < epoll.SlabBytes) {
		t.Errorf("%+v of %d threads, epoll %+v", *g, n, *epoll)
	}
	threads := rec.Reconcile.Threads
	if threads == nil {
		t.Fatal("the threads' slab is not told apart")
	}
	i := slices.IndexFunc(threads.Caches, func(c recording.ThreadCacheGrown) bool { return c.Cache == "task_struct" })
	if i < 0 || check.Quiet && (threads.Caches[i].Objects < n*9/10 || threads.Caches[i].Bytes > threads.Bytes) {
		t.Errorf("%d threads and %+v", n, threads)
	}
}

func TestAThreadedRunWithoutAProfileIsComparedToo(t *testing.T) {
	o := options(300)
	o.ThreadPerConnection, o.NoProfile, o.Scenario = true, true, "hello"
	rec := mustRun(t, o)
	if rec.Load.Established != 300 || rec.Load.ComparedWith == nil || rec.Load.Growth == nil || rec.Load.Threads < 300 {
		t.Errorf("%+v", rec.Load)
	}
	if v := rec.Load.ContextSwitches.Server.Voluntary; v < 2*300*9/10 { // waiting for the greeting, and after it
		t.Errorf("%d voluntary context switches of 300 threads that have answered", v)
	}
}

// The runtime of a process that is refused a thread ends it.
func TestTooFewThreadsForTheProcessesThemselvesAreNamed(t *testing.T) {
	const used, plenty = 172, 1 << 20
	if err := checkOwnThreads(madeUpHost(t, plenty, plenty, plenty), 2, 1_000_000); err != nil {
		t.Errorf("with plenty: %v", err)
	}
	for sysctl, h := range map[string]limits.Host{
		"kernel.threads-max": madeUpHost(t, used+1, plenty, plenty),
		"kernel.pid_max":     madeUpHost(t, plenty, used+1, plenty),
	} {
		err := checkOwnThreads(h, 1, 1000)
		if err == nil || !strings.Contains(err.Error(), sysctl+" = 173") || !strings.Contains(err.Error(), "run: sysctl -w "+sysctl+"=") {
			t.Errorf("with %s at its end: %v", sysctl, err)
		}
	}
	// Each 19,900 connections have a thread at each end.
	few, many := madeUpHost(t, plenty, used+1000, plenty), 19_900*500
	if err := checkOwnThreads(few, 2, many); err == nil || !strings.Contains(err.Error(), "kernel.pid_max = 1172") {
		t.Errorf("with %d connections: %v", many, err)
	}
}
