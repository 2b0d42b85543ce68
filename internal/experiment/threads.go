package experiment

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/load"
)

// threadBytes is what a thread that sleeps in read(2) costs beside its connection: 16 KiB of kernel stack, 7.5 KiB of
// slab, 4 KiB of user stack and its share of page tables on 6.18 (docs/results/threads.md), and some room.
const threadBytes = 32 << 10

// runThreads runs the same load twice, first with a server that uses epoll and then with one that has a thread for each
// connection. The recording is the second one's, with the first one's figures beside its own.
func runThreads(o Options) (*account.Recording, error) {
	plan := &runner{options: o}
	if err := limits.CheckPrivileges(); err != nil {
		return nil, err
	}
	if err := plan.decideConns(); err != nil {
		return nil, err
	}
	o.Conns = plan.conns
	epoll := o
	epoll.ThreadPerConnection, epoll.Hold, epoll.Measured = false, 0, nil
	var list bytes.Buffer
	if o.Endpoints != nil {
		epoll.Endpoints = &list
	}
	rec, err := (&runner{options: epoll, compares: true}).run()
	if err != nil {
		return nil, fmt.Errorf("the epoll run to compare with: %w", err)
	}
	if rec.Interrupted != "" {
		return rec, o.settleFor(rec, &list)
	}
	o.Hooked = nil // they are the same
	other := &account.Comparison{Established: rec.Load.Established, ConnectsPerSecond: rec.Load.ConnectsPerSecond,
		ServerCost: rec.Load.ServerCost}
	return (&runner{options: o, capped: plan.capped, compares: true, other: other}).run()
}

// settleFor delivers the epoll run where there is no other.
func (o *Options) settleFor(rec *account.Recording, list *bytes.Buffer) error {
	if o.Endpoints != nil {
		if _, err := list.WriteTo(o.Endpoints); err != nil {
			return fmt.Errorf("write the list of endpoints: %w", err)
		}
	}
	return o.measured(rec)
}

// threadLimits are the limits on threads, by their names in package limits. RLIMIT_NPROC is not among them: it does not
// bind a process with CAP_SYS_ADMIN, which a run needs (copy_process).
var threadLimits = []string{"threads (all)", "process IDs", "mappings", "cgroup pids"}

// ownThreads are what a run has beside those of the connections: the reserve, and those of its processes' runtimes.
const ownThreads = 2 * load.ReservedThreads

// threadsLeft is how many connections a limit lets have a thread.
func threadsLeft(row limits.Row) uint64 {
	return row.Holds[kernel.RoleBoth] - min(row.Holds[kernel.RoleBoth], ownThreads)
}

// threadRows are the limits on threads, judged for n connections that have one each, the tightest first.
func threadRows(h limits.Host, n int) []limits.Row {
	rows := limits.Judge(h, limits.Demand{Conns: uint64(n) + ownThreads, Role: kernel.RoleBoth, ThreadEach: true})
	rows = slices.DeleteFunc(rows, func(r limits.Row) bool {
		return !slices.Contains(threadLimits, r.Limit) || r.Verdict == limits.Unknown
	})
	slices.SortStableFunc(rows, func(a, b limits.Row) int {
		return cmp.Compare(threadsLeft(a), threadsLeft(b))
	})
	return rows
}

// fitThreads holds the connections against the limits on threads. A number that was asked for is refused, any other
// lowered. The second run opens what the first one did.
func (r *runner) fitThreads(h limits.Host) error {
	if !r.options.ThreadPerConnection || r.other != nil {
		return nil
	}
	rows := threadRows(h, r.conns)
	if len(rows) == 0 || threadsLeft(rows[0]) >= uint64(r.conns) {
		return nil
	}
	tightest := rows[0]
	holds := threadsLeft(tightest)
	if r.options.Conns != 0 || holds == 0 {
		return tooManyThreads(r.conns, tightest, holds)
	}
	r.conns, r.capped = int(holds), fmt.Sprintf("%s = %d: each connection has a thread", tightest.Where, tightest.Now)
	return nil
}

func tooManyThreads(n int, row limits.Row, holds uint64) error {
	fix := "run: " + row.Fix
	if holds > 0 {
		fix = fmt.Sprintf("lower --conns to %d or %s", holds, fix)
	}
	unit := "threads, those of others included"
	if row.Limit == "mappings" {
		unit = "mappings, two for each thread's stack"
	}
	return fmt.Errorf("%d connections with a thread each need %s = %d (%s), and it is %d; %s", n, row.Where, row.Need,
		unit, row.Now, fix)
}

// refusedThread names the limit behind a thread that could not be made.
func (r *runner) refusedThread(f load.Failure) string {
	limit := "memory, the host's or that of the memory cgroup"
	if where := nearestLimit(limits.Host{}, f.Errno, r.engine.Progress().Accepted); where != "" {
		limit = where
	}
	return fmt.Sprintf("%s is reached: %d x %s: %v", limit, f.Count, f.Step, f.Errno)
}

// nearestLimit is the limit that leaves the least room for another thread when the kernel has refused one: mappings
// where it had no memory for a stack, else any other. It is empty where it is none of them.
func nearestLimit(h limits.Host, refusal syscall.Errno, threads int) string {
	nearest, least := "", uint64(limits.NoLimit)
	for _, row := range threadRows(h, 1) {
		left := row.Holds[kernel.RoleBoth]
		if row.Limit == "mappings" { // the only one that does not say how much is used
			left -= min(left, uint64(threads))
		}
		if (row.Limit == "mappings") == (refusal == syscall.ENOMEM) && left < least {
			nearest, least = fmt.Sprintf("%s = %d", row.Where, row.Now), left
		}
	}
	if refusal == syscall.ENOMEM && least > mappingsSpare {
		return ""
	}
	return nearest
}

// mappingsSpare is how far from vm.max_map_count, in threads, another reason for ENOMEM is the likelier one: as many as
// package limits keeps in reserve.
const mappingsSpare = 500

// fillServer writes down what serving took. growth is read from figures of the whole host, and only where two models
// are compared.
func (r *runner) fillServer() {
	s := &r.recording.Load.ServerCost
	s.ServerModel = account.ModelEpoll
	if r.options.ThreadPerConnection {
		s.ServerModel = account.ModelThread
	}
	if r.compares {
		time.Sleep(settle) // the last threads go to sleep
	}
	client, server := r.engine.ContextSwitches()
	s.ContextSwitches = &account.ContextSwitches{Client: account.Switches(client), Server: account.Switches(server)}
	_, pid := r.engine.PIDs()
	s.ServerRSSBytes, s.Threads = residentBytes(pid), threadsOf(pid)
	r.recording.Load.ComparedWith = r.other
	if !r.compares {
		return
	}
	if now, err := readServing(pid); err == nil {
		g := now.since(r.serving)
		s.Growth = &g
	}
}

// serving is the memory that models of servers differ in.
type serving struct{ user, slab, stacks, tables uint64 }

func readServing(pid int) (serving, error) {
	_ = kernel.SettleCounts() // as in snapshot
	info, err := kernel.ReadMeminfo()
	if err != nil {
		return serving{}, fmt.Errorf("read kernel memory: %w", err)
	}
	return serving{exactResidentBytes(pid), info["Slab"], info["KernelStack"], info["PageTables"]}, nil
}

// exactResidentBytes is a process's resident memory by its page tables. Before f1a7941243c1 (6.2) each thread counts up to
// 64 pages for itself before it tells the process, and a thread here has one.
func exactResidentBytes(pid int) uint64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for _, line := range strings.Split(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "Rss:"); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(v, " kB")), 10, 64)
			return n << 10
		}
	}
	return residentBytes(pid) // without CONFIG_PROC_PAGE_MONITOR
}

func (s serving) since(before serving) account.MemoryGrowth {
	return account.MemoryGrowth{ServerUserBytes: int64(s.user) - int64(before.user), SlabBytes: int64(s.slab) -
		int64(before.slab), KernelStackBytes: int64(s.stacks) - int64(before.stacks),
		PageTableBytes: int64(s.tables) - int64(before.tables)}
}

// threadsOf is how many threads a process has, 0 when it is gone. Listing them in /proc would allocate for each.
func threadsOf(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for _, line := range strings.Split(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "Threads:"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(v))
			return n
		}
	}
	return 0
}

// threadCaches serve what the kernel makes for a thread: itself and its number; for its stack in the kernel an area of
// addresses with the list of its pages; for its stack in user space two mappings, with what leads from a page back to
// one, and their places in the process's tree of mappings.
var threadCaches = []string{"task_struct", "pid", "vmap_area", "vm_struct", "kmalloc-32", "kmalloc-64", "kmalloc-96", "vm_area_struct", "anon_vma",
	"anon_vma_chain", "maple_node"}

// listedCaches are the names under which /proc/slabinfo lists caches, each once: merged ones have one name.
func listedCaches(names []string, aliases map[string]string) []string {
	var listed []string
	for _, name := range names {
		if other, ok := aliases[name]; ok {
			name = other
		}
		if !slices.Contains(listed, name) {
			listed = append(listed, name)
		}
	}
	return listed
}
