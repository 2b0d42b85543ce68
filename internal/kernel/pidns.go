package kernel

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// firstPIDNamespace is the inode number of the host's own (PROC_PID_INIT_INO, include/linux/proc_ns.h).
const firstPIDNamespace = 0xEFFFFFFC

// PIDNamespace is the pid namespace that this process numbers others in, and itself.
type PIDNamespace struct {
	Inode uint32 // nsfs
	First bool   // it is the host's own, whose numbers are the kernel's
}

// OwnPIDNamespace reads this process's pid namespace.
func OwnPIDNamespace() (PIDNamespace, error) {
	const path = "/proc/self/ns/pid"
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return PIDNamespace{}, fmt.Errorf("stat %s: %w (is /proc mounted, for this pid namespace?)", path, err)
	}
	return PIDNamespace{Inode: uint32(st.Ino), First: st.Ino == firstPIDNamespace}, nil
}

// ProcIsOwn tells whether /proc numbers processes as this process does. It is not so where a program was started in a new pid
// namespace and /proc was not mounted anew: there a number names a stranger.
func ProcIsOwn() bool {
	self, err := os.Readlink("/proc/self")
	return err == nil && self == strconv.Itoa(os.Getpid())
}
