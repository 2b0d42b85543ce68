package kernel

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/procfs"
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

// GoesOn tells whether a process whose first thread is about to end goes on without it: that thread alone may end, or another one
// executes a program, for which the kernel ends all others first.
func GoesOn(pid int) bool {
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
	threads, err := procfs.AllThreads(pid)
	if err != nil {
		return threadIsDying
	}
	does := threadIsDying
	for _, t := range threads {
		if t.PID == pid {
			continue
		}
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", pid, t.PID)); err == nil { // else it is gone
			does = min(does, threadFrom(stat))
		}
	}
	return does
}

// threadFrom makes sense of the text of /proc/PID/task/TID/stat: its state, flags and pending signals.
func threadFrom(stat []byte) thread {
	const exits = 0x4 // PF_EXITING, include/linux/sched.h
	const kill = 1 << (unix.SIGKILL - 1)
	flags, err := strconv.ParseUint(statField(stat, 9), 10, 64)
	pending, err2 := strconv.ParseUint(statField(stat, 31), 10, 64)
	state := statField(stat, 3)
	switch {
	case err != nil || err2 != nil || flags&exits != 0 || pending&kill != 0 || state == "Z" || state == "X":
		return threadIsDying
	case state == "R":
		return threadRuns
	}
	return threadLives
}
