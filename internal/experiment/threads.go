package experiment

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
)

// threadBytes is what a thread that sleeps in read(2) costs beside its connection: 16 KiB of kernel stack, 7.5 KiB of
// slab, 4 KiB of user stack and its share of page tables on 6.18 (docs/results/threads.md), and some room.
const threadBytes = 32 << 10

// compareServers runs the same load twice, first with a server that uses epoll and then with one that has a thread for each
// connection. The recording is the second one's, with the first one's figures beside its own.
func compareServers(ctx context.Context, plan *Plan) (*recording.Recording, error) {
	plan.compares = true
	o := &plan.Options
	o.Conns = plan.Conns // both runs open as many
	epoll := *plan
	epoll.Ends = BothHere()
	epoll.Options.ThreadPerConnection, epoll.Options.Hold, epoll.Options.Measured = false, 0, nil
	var list bytes.Buffer
	if o.Endpoints != nil {
		epoll.Options.Endpoints = &list
	}
	rec, err := RunWith(ctx, &epoll, nobody{})
	if err != nil {
		return nil, fmt.Errorf("the epoll run to compare with: %w", err)
	}
	if rec.Interrupted != "" {
		return rec, o.deliver(rec, &list)
	}
	o.Hooked = nil // they are the same
	l := rec.Machines[0].Load
	plan.other = &recording.Comparison{Established: l.Established, ConnectsPerSecond: l.ConnectsPerSecond, ServerCost: l.ServerCost}
	return RunWith(ctx, plan, nobody{})
}

// deliver gives out the epoll run where there is no other.
func (o *Options) deliver(rec *recording.Recording, list *bytes.Buffer) error {
	if o.Endpoints != nil {
		if _, err := list.WriteTo(o.Endpoints); err != nil {
			return fmt.Errorf("write the list of endpoints: %w", err)
		}
	}
	return o.measured(rec)
}

// runtimeThreads are those of a process of connprof's beside its shards: the Go runtime has one for each CPU that it may use, and
// some for what sleeps in the kernel. A run of 1,000 connections has had 28 in all on two CPUs, one of 45,000 has had 31.
const runtimeThreads = 8

// CheckThreads fails when the host, or a cgroup, leaves no room for the threads of a run with so many of the ends here. The Go
// runtime ends the process where it is refused one, so this comes before anything that takes threads.
func CheckThreads(ends int) error { return checkOwnThreads(limits.Host{}, ends, 1) }

func checkOwnThreads(h limits.Host, ends, conns int) error {
	shards := (conns + load.MaxShardSockets - 1) / load.MaxShardSockets
	return limits.CheckThreads(h, (1+ends)*(runtime.GOMAXPROCS(0)+runtimeThreads)+ends*shards)
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
// lowered.
func (p *Plan) fitThreads(h limits.Host) error {
	if !p.Options.ThreadPerConnection {
		return nil
	}
	rows := threadRows(h, p.Conns)
	if len(rows) == 0 || threadsLeft(rows[0]) >= uint64(p.Conns) {
		return nil
	}
	tightest := rows[0]
	holds := threadsLeft(tightest)
	if p.Options.Conns != 0 || holds == 0 {
		return tooManyThreads(p.Conns, tightest, holds)
	}
	p.Conns, p.Capped = int(holds), fmt.Sprintf("%s = %d: each connection has a thread", tightest.Where, tightest.Now)
	return nil
}

func tooManyThreads(n int, row limits.Row, holds uint64) error {
	unit := "threads, those of others included"
	if row.Limit == "mappings" {
		unit = "mappings, two for each thread's stack"
	}
	return fmt.Errorf("%d connections with a thread each need %s = %d (%s), and it is %d; %s", n, row.Where, row.Need,
		unit, row.Now, remedy(row, holds))
}

// refusedThread names the limit behind a thread that could not be made.
func refusedThread(f load.Failure, threads int) string {
	limit := "memory, the host's or that of the memory cgroup"
	if where := nearestLimit(limits.Host{}, f.Errno, threads); where != "" {
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

// fillServer writes down what serving took. Growth is read from figures of the whole host, and only where two models are
// compared.
func (s *Stage) fillServer(l *recording.Load) {
	if s.plan.served != nil {
		return // Join tells
	}
	cost := &l.ServerCost
	cost.ServerModel = recording.ModelEpoll
	if s.plan.Options.ThreadPerConnection {
		cost.ServerModel = recording.ModelThread
	}
	if s.plan.compares {
		time.Sleep(settle) // the last threads go to sleep
	}
	client, server := s.engine.ContextSwitches()
	cost.ContextSwitches = &recording.ContextSwitches{Client: recording.Switches(client), Server: recording.Switches(server)}
	_, pid := s.engine.PIDs()
	cost.ServerRSSBytes, cost.Threads = kernel.ResidentBytes(pid), kernel.Threads(pid)
	l.ComparedWith = s.plan.other
	if !s.plan.compares {
		return
	}
	if now, err := readServing(pid); err == nil {
		g := now.since(s.serving)
		cost.Growth = &g
	}
}

// serving is the memory that models of servers differ in.
type serving struct{ user, slab, stacks, tables uint64 }

func readServing(pid int) (serving, error) {
	_ = kernel.SettleCounts() // as in measure.ReadSlabs
	info, err := kernel.ReadMeminfo()
	if err != nil {
		return serving{}, fmt.Errorf("read kernel memory: %w", err)
	}
	return serving{kernel.ExactResidentBytes(pid), info["Slab"], info["KernelStack"], info["PageTables"]}, nil
}

func (s serving) since(before serving) recording.MemoryGrowth {
	return recording.MemoryGrowth{ServerUserBytes: int64(s.user) - int64(before.user), SlabBytes: int64(s.slab) -
		int64(before.slab), KernelStackBytes: int64(s.stacks) - int64(before.stacks),
		PageTableBytes: int64(s.tables) - int64(before.tables)}
}
