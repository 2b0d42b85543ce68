package privilege

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"
)

// Keep gives up all capabilities of this process but these, for good and in each of its threads. What it does not have it does not get.
// See capabilities(7).
func Keep(caps ...capability.Cap) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read this process's capabilities: %w", err)
	}
	var keep [2]uint32
	for _, c := range caps {
		keep[c/32] |= 1 << (c % 32)
	}
	for i := range sets {
		sets[i].Permitted &= keep[i]
		sets[i].Effective = sets[i].Permitted
		sets[i].Inheritable = 0
	}
	// Pid 0 of the header is the calling thread.
	if _, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets[0])), 0); e != 0 {
		if e == unix.ENOTSUP {
			return errors.New("give up capabilities: Go does that for all threads only in a program without the C library: build it with CGO_ENABLED=0")
		}
		return fmt.Errorf("give up capabilities: %w", e)
	}
	return nil
}
