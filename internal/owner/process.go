package owner

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// Process is what /proc says of a process.
type Process struct {
	PID    int
	Parent int // 0 where it is not known
	Comm   string
	UID    uint32 // effective
	Cgroup string // of all hierarchies the path that tells most; empty where it is not known
	// Gone says that it ended before it could be read. Its name is the one that it had when its files were walked.
	Gone bool
}

// Reader reads processes from /proc. The zero value reads those of the running host.
type Reader struct {
	// Proc is where the proc file system is mounted; empty for /proc.
	Proc string
	// Exists tells whether a process exists that /proc does not show; nil asks the kernel.
	Exists func(pid int) bool
}

// reading is one pass over some processes.
type reading struct {
	Reader
	fs procfs.FS
	// names says that /proc has the numbers that the walk has. now is the time since boot, in clock ticks.
	names bool
	now   uint64
}

// Read reads one process. Of one that is gone there is its number alone.
func (r Reader) Read(pid int) Process {
	pass := r.begin()
	return pass.process(pid, "")
}

// begin is the moment after the walk. What starts later and has a number that was walked is another process.
func (r Reader) begin() reading {
	if r.Proc == "" {
		r.Proc = procfs.DefaultMountPoint
	}
	if r.Exists == nil {
		r.Exists = exists
	}
	pass := reading{Reader: r, now: ticksSinceBoot()}
	fs, err := procfs.NewFS(r.Proc)
	pass.fs, pass.names = fs, err == nil && numbersAsHere(r.Proc)
	return pass
}

// numbersAsHere tells whether /proc has the numbers of this process's pid namespace, which are the walk's. One that was
// mounted in another has others: a number that was walked is there another process, or none.
func numbersAsHere(proc string) bool {
	self, err := os.Readlink(filepath.Join(proc, "self"))
	return err != nil || self == strconv.Itoa(os.Getpid())
}

// ticksPerSecond is USER_HZ, in which /proc/PID/stat tells times on every architecture that Go has.
const ticksPerSecond = 100

func ticksSinceBoot() uint64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 1<<64 - 1
	}
	return uint64(t.Sec)*ticksPerSecond + uint64(t.Nsec)/(1e9/ticksPerSecond)
}

// exists asks by a signal that is none. /proc mounted with hidepid does not show what this process may not trace.
func exists(pid int) bool {
	err := unix.Kill(pid, 0)
	return err == nil || errors.Is(err, unix.EPERM)
}

// process is what /proc says of a process that was walked under the name comm. Where /proc shows nothing of it, that is all.
func (r reading) process(pid int, comm string) Process {
	unseen := Process{PID: pid, Comm: comm}
	if !r.names {
		return unseen
	}
	p, err := r.fs.Proc(pid)
	if err != nil {
		return r.missing(unseen, err)
	}
	stat, err := p.Stat()
	if err != nil {
		return r.missing(unseen, err)
	}
	if stat.Starttime > r.now {
		unseen.Gone = true
		return unseen
	}
	status, err := p.NewStatus()
	if err != nil {
		return r.missing(unseen, err)
	}
	const effective = 1 // of real, effective, saved, and the file system's
	found := Process{PID: pid, Parent: stat.PPID, Comm: stat.Comm, UID: uint32(status.UIDs[effective])}
	// Without CONFIG_CGROUPS there is no such file. Of a process that ends just now the rest is known.
	if cgroups, err := p.Cgroups(); err == nil {
		found.Cgroup = tellingCgroup(cgroups)
	}
	return found
}

// missing tells a process that has ended from one that /proc hides.
func (r reading) missing(p Process, err error) Process {
	ended := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
	p.Gone = ended && !r.Exists(p.PID)
	return p
}

// tellingCgroup is the path that tells most of where a process runs. A runtime need not put a container into a cgroup of its
// own in every hierarchy. Of like ones it takes the hierarchy that is the most likely to be sorted.
func tellingCgroup(cgroups []procfs.Cgroup) string {
	if len(cgroups) == 0 {
		return ""
	}
	return slices.MaxFunc(cgroups, func(a, b procfs.Cgroup) int {
		return cmp.Or(cmp.Compare(ParseCgroup(a.Path).telling(), ParseCgroup(b.Path).telling()),
			cmp.Compare(belowRoot(a.Path), belowRoot(b.Path)), cmp.Compare(sorted(a), sorted(b)))
	}).Path
}

func belowRoot(path string) int { return min(len(segments(path)), 1) }

// sorted ranks hierarchies: version 2, then systemd's own, then those that most hosts limit something with.
func sorted(c procfs.Cgroup) int {
	switch {
	case c.HierarchyID == 0:
		return 4
	case slices.Contains(c.Controllers, "name=systemd"):
		return 3
	case slices.Contains(c.Controllers, "memory"):
		return 2
	case slices.Contains(c.Controllers, "pids"):
		return 1
	}
	return 0
}
