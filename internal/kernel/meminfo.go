package kernel

import (
	"fmt"

	"github.com/prometheus/procfs"
)

// Meminfo is what connprof uses of /proc/meminfo, in bytes, by the kernel's names: MemTotal, MemAvailable, Slab,
// KernelStack and PageTables.
type Meminfo map[string]uint64

// ReadMeminfo reads the running kernel's /proc/meminfo.
func ReadMeminfo() (Meminfo, error) { return MeminfoBelow(procfs.DefaultMountPoint) }

// MeminfoBelow reads the file meminfo in a directory, such as where /proc is mounted.
func MeminfoBelow(proc string) (Meminfo, error) {
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return nil, err
	}
	info, err := fs.Meminfo()
	if err != nil {
		return nil, fmt.Errorf("read %s/meminfo: %w", proc, err)
	}
	if info.SlabBytes == nil {
		return nil, fmt.Errorf("read %s/meminfo: no Slab line in it", proc)
	}
	m := Meminfo{}
	for name, bytes := range map[string]*uint64{"MemTotal": info.MemTotalBytes, "MemAvailable": info.MemAvailableBytes,
		"Slab": info.SlabBytes, "KernelStack": info.KernelStackBytes, "PageTables": info.PageTablesBytes} {
		if bytes != nil {
			m[name] = *bytes
		}
	}
	return m, nil
}
