package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// slabDirectory has a directory for each slab cache, and links for those that SLUB has merged.
const slabDirectory = "/sys/kernel/slab"

// SettleAllCounts is SettleCounts for all slab caches of the kernel, known or not. A kernel without the directory (CONFIG_SLUB_DEBUG)
// is no error: active objects are then too many by the free ones that lie with the CPUs.
func SettleAllCounts() error {
	entries, err := os.ReadDir(slabDirectory)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list slab caches: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		err := os.WriteFile(filepath.Join(slabDirectory, e.Name(), "shrink"), []byte("1"), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("shrink slab cache %s: %w", e.Name(), err))
		}
	}
	if len(errs) > 0 {
		return errs[0] // where one may not be written, as in a container, none may
	}
	return refreshStatistics()
}

// membarrierGlobal is MEMBARRIER_CMD_GLOBAL of include/uapi/linux/membarrier.h.
const membarrierGlobal = 1

// AwaitRCU returns after a grace period of RCU: what waited for one when it was called may be freed from then on. The kernel does
// that in softirqs, a part at a time.
func AwaitRCU() error {
	// sys_membarrier calls synchronize_rcu for this command.
	if _, _, e := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0); e != 0 {
		return fmt.Errorf("wait for RCU by membarrier: %w (it needs CONFIG_MEMBARRIER, and no CPU in nohz_full)", e)
	}
	return nil
}
