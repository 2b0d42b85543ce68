package kernel

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/procfs"
)

// ProcessMemory is the memory of one process beside slab, in bytes; all 0 where it is gone.
type ProcessMemory struct {
	Resident     uint64 // RSS: pages that several processes share count in each
	Proportional uint64 // PSS: each of these counts as one over the number of processes
	Anonymous    uint64 // of the resident: heap, stacks and the like, no file's
	PageTables   uint64 // VmPTE
	Threads      int
	// Waited is the CPU time of children that have ended and that it has waited for, and of theirs (getrusage(2), RUSAGE_CHILDREN).
	Waited time.Duration
}

// ReadProcessMemory reads it from smaps_rollup, status and stat in /proc/PID (proc_pid_smaps(5), proc_pid_status(5)).
func ReadProcessMemory(pid int) ProcessMemory {
	p, err := process(pid)
	if err != nil {
		return ProcessMemory{}
	}
	var m ProcessMemory
	if s, err := p.ProcSMapsRollup(); err == nil {
		m.Resident, m.Proportional, m.Anonymous = s.Rss, s.Pss, s.Anonymous
	}
	if s, err := p.NewStatus(); err == nil {
		m.PageTables = s.VmPTE
	}
	if s, err := p.Stat(); err == nil {
		m.Threads = s.NumThreads
		m.Waited = time.Duration(s.CUTime+s.CSTime) * time.Second / userHZ
	}
	return m
}

// fewThreads bounds the threads that WantsCPU looks at: each look at one leaves an inode in /proc.
const fewThreads = 64

// WantsCPU tells whether any thread of a process runs, or would if there was a CPU for it (state R). It is not known of a process with
// very many threads, and false then.
func WantsCPU(pid int) bool {
	p, err := process(pid)
	if err != nil {
		return false
	}
	if stat, err := p.Stat(); err != nil || stat.NumThreads == 1 || stat.NumThreads > fewThreads {
		return err == nil && stat.State == "R"
	}
	threads, err := procfs.AllThreads(pid)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(threads, func(thread procfs.Proc) bool {
		stat, err := thread.Stat()
		return err == nil && stat.State == "R"
	})
}

// userHZ is how many ticks /proc/PID/stat has in a second (USER_HZ).
const userHZ = 100

// StackBytes is the size of a thread's stack in the kernel (THREAD_SIZE), by what all threads of the host have; 0 where /proc
// does not tell.
func StackBytes() uint64 {
	info, err := ReadMeminfo()
	if err != nil {
		return 0
	}
	text, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 4 {
		return 0
	}
	var running, threads uint64
	if _, err := fmt.Sscanf(fields[3], "%d/%d", &running, &threads); err != nil || threads == 0 {
		return 0
	}
	size := uint64(4096)
	for size < info["KernelStack"]/threads*3/4 { // the idle threads of the CPUs are in one of the two figures alone
		size *= 2
	}
	return size
}
