package experiment

import (
	"fmt"
	"syscall"

	"github.com/connprof/connprof/internal/limits"
)

// minAvailable is the share of the memory, in percent of MemTotal, below which the ramp is stopped.
const minAvailable = 5

// accountReserve is what a memory cgroup must have left for the account: the profiler's own growth while it walks and
// reports, and what the kernel still charges for connections on their way.
const accountReserve = 48 << 20

// guards look, several times a second, for what must end the ramp before the host suffers. Each says why, or nothing.
var guards = []func(*Watch, map[string]uint64) string{
	hostMemory, cgroupMemory, allowedMemory, serverMemory, fileTable, refusals, otherEnd,
}

// limitReached names the limit that the ramp has run into, empty for none. info is /proc/meminfo.
func (w *Watch) limitReached(info map[string]uint64) string {
	for _, guard := range guards {
		if why := guard(w, info); why != "" {
			return why
		}
	}
	return ""
}

func hostMemory(_ *Watch, info map[string]uint64) string {
	if info["MemAvailable"] >= info["MemTotal"]/100*minAvailable {
		return ""
	}
	return fmt.Sprintf("memory ran low: MemAvailable fell below %d %% of MemTotal", minAvailable)
}

func cgroupMemory(*Watch, map[string]uint64) string {
	m, err := limits.ReadMemory()
	if err != nil || m.Limit == limits.MemAvailable || m.AvailableBytes >= accountReserve {
		return ""
	}
	return fmt.Sprintf("the memory cgroup is nearly full: %d MiB are left below %s", m.AvailableBytes>>20, m.Limit)
}

// othersMemory is how much slab memory may grow beyond what connections may take, and a tenth of that on top: a plan uses all that
// it may, and other programs need some as well.
const othersMemory = 16 << 20

// allowedMemory watches the growth of slab memory itself, whatever was expected of a connection.
func allowedMemory(w *Watch, info map[string]uint64) string {
	s := w.stage
	percent := s.plan.Options.AllowMemory
	what, grown := "slab memory has", int64(info["Slab"])-int64(s.before.SlabBytes)
	if s.plan.Options.ThreadPerConnection {
		what, grown = "slab memory and kernel stacks have", grown+int64(info["KernelStack"])-int64(s.serving.stacks)
	}
	allowed := int64(s.plan.memory.Share(percent))
	if percent == 0 || grown < allowed+allowed/10+othersMemory {
		return ""
	}
	return fmt.Sprintf("memory: %s grown by %d MiB, and connections may take %d MiB, %d %% of %s (--allow-memory)",
		what, grown>>20, allowed>>20, percent, s.plan.memory.Limit)
}

// serverMemory watches all that is taken where a server of the user's takes what it wants beside slab memory.
func serverMemory(w *Watch, info map[string]uint64) string {
	p := w.stage.plan
	if p.served == nil || p.Options.AllowMemory == 0 {
		return ""
	}
	taken, allowed := int64(w.stage.available)-int64(info["MemAvailable"]), int64(p.memory.Share(p.Options.AllowMemory))
	if w.stage.available == 0 || taken < allowed+allowed/10+othersMemory {
		return ""
	}
	return fmt.Sprintf("memory: MemAvailable has fallen by %d MiB since the first connection, and connections may take %d MiB, %d %% of %s "+
		"(--allow-memory)", taken>>20, allowed>>20, p.Options.AllowMemory, p.memory.Limit)
}

// fileTable leaves the host's other users their files: the kernel bounds them by fs.file-max, and a run not at all.
func fileTable(*Watch, map[string]uint64) string {
	f, err := limits.ReadFileTable()
	if err != nil || f.Left() > 0 {
		return ""
	}
	return fmt.Sprintf("the system's file table is nearly full: %d files are open of fs.file-max = %d", f.Used, f.Max)
}

// exhausted are the errors that the next attempt would meet as well, with the limit behind each.
var exhausted = map[syscall.Errno]string{
	syscall.EMFILE:  "RLIMIT_NOFILE of the load processes",
	syscall.ENFILE:  "fs.file-max",
	syscall.ENOSPC:  "fs.epoll.max_user_watches",
	syscall.ENOMEM:  "memory, the host's or that of the memory cgroup",
	syscall.ENOBUFS: "memory, the host's or that of the memory cgroup",
}

func refusals(w *Watch, _ map[string]uint64) string {
	for _, f := range w.stage.engine.Failures() {
		if f.OfThread() {
			return refusedThread(f, w.stage.engine.Progress().Accepted)
		}
		if limit, ok := exhausted[f.Errno]; ok && !f.Recovers() {
			return fmt.Sprintf("%s is reached: %d x %s: %v", limit, f.Count, f.Step, f.Errno)
		}
	}
	return ""
}

func otherEnd(w *Watch, _ map[string]uint64) string { return w.stop(w.stage.engine) }
