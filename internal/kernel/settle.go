package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SettleCounts has the kernel bring its own figures up to date, so that slabinfo and meminfo say what is in use now:
//
//   - Each CPU keeps slabs (sheaves, since 6.18) of every cache for itself, and slabinfo counts their free places as
//     used. Shrinking a cache gives them back to the list that is counted. It also frees the cache's empty slabs.
//   - Each CPU counts pages for itself and passes the sum on once it has dozens. Writing to vm.stat_refresh passes
//     it on now.
//
// It covers the caches of all object types and those of kmalloc. A cache that this kernel does not have is no error.
func SettleCounts() error {
	var errs []error
	for _, name := range countedCaches() {
		err := os.WriteFile(filepath.Join("/sys/kernel/slab", name, "shrink"), []byte("1"), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("shrink slab cache %s: %w", name, err))
		}
	}
	return errors.Join(append(errs, refreshStatistics())...)
}

func refreshStatistics() error {
	if err := os.WriteFile("/proc/sys/vm/stat_refresh", []byte("1"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("refresh the kernel's memory statistics: %w", err)
	}
	return nil
}

// kmallocCaches serve slabobj_ext vectors, LSM blobs and the heads of sk_buffs.
var kmallocCaches = []string{"kmalloc-8", "kmalloc-16", "kmalloc-32", "kmalloc-64", "kmalloc-96", "kmalloc-128", "kmalloc-192",
	"kmalloc-256", "kmalloc-512", "kmalloc-1k", "kmalloc-2k", "kmalloc-4k", "kmalloc-8k"}

func countedCaches() []string {
	names := append([]string(nil), kmallocCaches...)
	for t := range Types {
		names = append(names, Types[t].Caches...)
	}
	return names
}
