package symbolise

import "time"

// A process may map thousands of files that all take long to read. What it costs is counted, as far as it is more than what a
// look at known files takes. Beyond the bound no further file of the process is opened.
const (
	mostEffort  = 20 * time.Second
	smallEffort = time.Millisecond
)

// effort counts the time since a moment as spent on the process.
func (p *Process) effort(since time.Time) {
	if spent := time.Since(since); spent > smallEffort {
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
