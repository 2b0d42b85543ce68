package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// What the kernel says of a process. A process that is gone has nothing: 0, and no name. Neither has any where /proc is
// another pid namespace's.

var errForeignProc = errors.New("/proc is of another pid namespace")

func process(pid int) (procfs.Proc, error) {
	if !ProcIsOwn() {
		return procfs.Proc{}, errForeignProc
	}
	return procfs.NewProc(pid)
}

// ResidentBytes is the resident memory of a process, by the kernel's running count.
func ResidentBytes(pid int) uint64 {
	p, err := process(pid)
	if err != nil {
		return 0
	}
	m, err := p.Statm()
	if err != nil {
		return 0
	}
	return m.ResidentBytes()
}

// ExactResidentBytes is the resident memory of a process by its page tables, which takes the kernel longer to tell. Before
// f1a7941243c1 (6.2) each thread counts up to 64 pages for itself before it tells the process. Without
// CONFIG_PROC_PAGE_MONITOR it is ResidentBytes.
func ExactResidentBytes(pid int) uint64 {
	p, err := process(pid)
	if err != nil {
		return 0
	}
	m, err := p.ProcSMapsRollup()
	if err != nil {
		return ResidentBytes(pid)
	}
	return m.Rss
}

// CPUTime is the time that all threads of a process have run, to the nanosecond (/proc has it in ticks). Softirqs that
// interrupted them count, but not where CONFIG_IRQ_TIME_ACCOUNTING keeps these apart.
func CPUTime(pid int) time.Duration {
	const scheduled = 2                 // CPUCLOCK_SCHED, include/linux/posix-timers_types.h
	clock := ^int32(pid)<<3 | scheduled // make_process_cpuclock()
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// Threads is how many threads a process has. They are counted by the kernel: listing them in /proc would allocate for each.
func Threads(pid int) int {
	p, err := process(pid)
	if err != nil {
		return 0
	}
	stat, err := p.Stat()
	if err != nil {
		return 0
	}
	return stat.NumThreads
}

// Comm is the name of a process, of up to 15 bytes.
func Comm(pid int) string {
	p, err := process(pid)
	if err != nil {
		return ""
	}
	name, _ := p.Comm()
	return name
}

// StartStack is the address at which exec() put a process's stack (mm_struct.start_stack), which tells one program that the process
// executes from the next; 0 where it may not be known.
func StartStack(pid int) uint64 {
	p, err := process(pid)
	if err != nil {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
	if err != nil {
		return 0
	}
	address, err := strconv.ParseUint(statField(text, 28), 10, 64)
	if err != nil {
		return 0
	}
	return address
}

// statField is a field of /proc/PID/stat by its number in proc_pid_stat(5), from the third one on; empty where the text has no such.
// The second one is a name, which may have anything in it.
func statField(text []byte, number int) string {
	const first = 3
	rest := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if number < first || len(rest) <= number-first {
		return ""
	}
	return rest[number-first]
}
