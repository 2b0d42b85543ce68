package limits

import (
	"fmt"
	"os"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
)

// forThreads are the limits on threads that bind root as well, by name. RLIMIT_NPROC is not among them: it does not bind a
// process with CAP_SYS_ADMIN (copy_process).
var forThreads = []string{"threads (all)", "process IDs", "cgroup pids"}

// CheckThreads fails when a limit leaves no room for so many threads of connprof itself, its load processes' included. The
// threads that this process has are among them. A limit that cannot be read is taken for none.
func CheckThreads(h Host, threads int) error {
	more := uint64(max(threads-kernel.Threads(os.Getpid()), 0))
	for i := range limits {
		l := &limits[i]
		if !slices.Contains(forThreads, l.name) {
			continue
		}
		r, err := l.read(h)
		if err != nil || r.Used+more <= r.Now {
			continue
		}
		where := l.where
		if r.Where != "" {
			where = r.Where
		}
		row := Row{Need: r.Used + more}
		l.advise(h, Demand{}, r, &row)
		return fmt.Errorf("connprof needs %d threads and %s = %d leaves it %d; run: %s", threads, where, r.Now,
			r.Now-min(r.Used, r.Now)+uint64(threads)-more, row.Fix)
	}
	return nil
}
