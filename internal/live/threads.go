package live

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// thread is what a thread of a process is doing.
type thread int

const (
	threadLives   thread = iota // it sleeps, or is stopped
	threadRuns                  // it may be on its way to its end: between the kill and the flag is nothing to be seen
	threadIsDying               // or gone
)

// mostLooks is how many times, a millisecond apart, a process is looked at whose threads run.
const mostLooks = 1000

// goesOn tells whether a process whose first thread is about to end goes on without it: that thread alone may end, or another one
// executes a program, for which the kernel ends all others first.
func goesOn(pid int) bool {
	for range mostLooks {
		switch othersOf(pid) {
		case threadIsDying:
			return false
		case threadLives:
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

// othersOf is what the liveliest of a process's threads does, beside the first one.
func othersOf(pid int) thread {
	folders, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/[0-9]*")
	if err != nil {
		return threadIsDying
	}
	does := threadIsDying
	for _, f := range folders {
		if filepath.Base(f) != strconv.Itoa(pid) {
			does = min(does, threadOf(f))
		}
	}
	return does
}

// include/linux/sched.h: PF_EXITING.
const taskExits = 0x4

// threadOf reads what one does from its directory in /proc.
func threadOf(folder string) thread {
	stat, err := os.ReadFile(folder + "/stat")
	status, err2 := os.ReadFile(folder + "/status")
	if err != nil || err2 != nil {
		return threadIsDying // it is gone
	}
	return threadFrom(string(stat), string(status))
}

// threadFrom makes sense of the text of /proc/PID/task/TID/stat and status. See proc_pid_stat(5).
func threadFrom(stat, status string) thread {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // from the third one on; a name may have parentheses
	const state, flags = 3 - 3, 9 - 3
	if len(fields) <= flags {
		return threadIsDying
	}
	if n, err := strconv.ParseUint(fields[flags], 10, 64); err == nil && n&taskExits != 0 {
		return threadIsDying
	}
	for line := range strings.Lines(status) {
		if set, is := strings.CutPrefix(line, "SigPnd:"); is {
			if n, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64); err == nil && n&(1<<(unix.SIGKILL-1)) != 0 {
				return threadIsDying
			}
		}
	}
	switch fields[state] {
	case "R":
		return threadRuns
	case "Z", "X":
		return threadIsDying
	}
	return threadLives
}
