package symbolise

import (
	"time"

	"golang.org/x/sys/unix"
)

// A process may map thousands of files that all take long to read. What it costs is counted, as far as it is more than what a
// look at known files takes. Beyond the bound no further file of the process is opened. It is CPU time: what other programs take
// on a busy host is not the process's.
const (
	mostEffort  = 20 * time.Second
	smallEffort = time.Millisecond
)

// threadTime is how long this thread has run.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// effort counts the time since a moment as spent on the process.
func (p *Process) effort(since time.Duration) {
	if spent := threadTime() - since; spent > smallEffort {
		p.spent += spent
	}
}

// mostProcessMappings bounds the mappings of all processes together: 100 MB. mostPerfKept bounds their perf maps.
const (
	mostProcessMappings = 1 << 19
	mostPerfKept        = 128 << 20
)

// bound forgets what was used the longest time ago, until what all processes have is within the bounds.
func (s *Store) bound(keep *Process) {
	for {
		mappings, perf := len(keep.maps), keep.perf.weight()
		var oldest, oldestPerf *Process
		for _, p := range s.processes {
			if p == keep {
				continue
			}
			mappings += len(p.maps)
			perf += p.perf.weight()
			if oldest == nil || p.lastUsed < oldest.lastUsed {
				oldest = p
			}
			if p.perf != nil && (oldestPerf == nil || p.lastUsed < oldestPerf.lastUsed) {
				oldestPerf = p
			}
		}
		switch {
		case perf > mostPerfKept && oldestPerf != nil:
			oldestPerf.perf = nil
		case oldest != nil && (mappings > mostProcessMappings || len(s.processes) > s.options.MaxProcesses):
			s.Forget(oldest.pid)
		default:
			return
		}
	}
}
