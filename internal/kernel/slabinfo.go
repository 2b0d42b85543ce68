package kernel

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/prometheus/procfs"
)

// Slab is one line of /proc/slabinfo (version 2.1). Under SLUB active objects include the free ones of the slabs
// that a CPU has taken for itself.
type Slab struct {
	Name           string
	ActiveObjects  uint64
	Objects        uint64
	ObjectBytes    uint64 // from one object to the next
	ObjectsPerSlab uint64
	PagesPerSlab   uint64
	Slabs          uint64
}

var pageBytes = uint64(os.Getpagesize())

// PageBytes is what all slabs of the cache occupy.
func (s Slab) PageBytes() uint64 { return s.Slabs * s.PagesPerSlab * pageBytes }

// PageBytesEach is the share of its slab that one object occupies, padding and waste included.
func (s Slab) PageBytesEach() float64 {
	if s.ObjectsPerSlab == 0 {
		return float64(s.ObjectBytes)
	}
	return float64(s.PagesPerSlab*pageBytes) / float64(s.ObjectsPerSlab)
}

// ReadSlabinfo reads the running kernel's /proc/slabinfo, which only root may.
func ReadSlabinfo() (map[string]Slab, error) { return SlabinfoBelow(procfs.DefaultMountPoint) }

// SlabinfoBelow reads the file slabinfo in a directory, such as where /proc is mounted.
func SlabinfoBelow(proc string) (map[string]Slab, error) {
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return nil, err
	}
	info, err := fs.SlabInfo()
	if err != nil {
		return nil, fmt.Errorf("read %s/slabinfo: %w", proc, err)
	}
	if len(info.Slabs) == 0 {
		return nil, fmt.Errorf("read %s/slabinfo: no cache in it; something is mounted over it, as in a container: run outside that", proc)
	}
	slabs := make(map[string]Slab, len(info.Slabs))
	for _, s := range info.Slabs {
		if min(s.ObjActive, s.ObjNum, s.ObjSize, s.ObjPerSlab, s.PagesPerSlab, s.SlabNum) < 0 {
			return nil, fmt.Errorf("read %s/slabinfo: a number below zero for cache %s", proc, s.Name)
		}
		slabs[s.Name] = Slab{Name: s.Name, ActiveObjects: uint64(s.ObjActive), Objects: uint64(s.ObjNum),
			ObjectBytes: uint64(s.ObjSize), ObjectsPerSlab: uint64(s.ObjPerSlab), PagesPerSlab: uint64(s.PagesPerSlab),
			Slabs: uint64(s.SlabNum)}
	}
	return slabs, nil
}

// Aliases maps every cache name to the name that /proc/slabinfo lists it under. SLUB merges caches of like size and
// flags; only the first one's name is listed, the others are symbolic links below /sys/kernel/slab that lead to
// the same directory. Without that directory (CONFIG_SLUB_DEBUG) the map is empty.
func Aliases(sysKernelSlab string, slabs map[string]Slab) map[string]string {
	entries, err := os.ReadDir(sysKernelSlab)
	if err != nil {
		return map[string]string{}
	}
	target := map[string]string{}
	listed := map[string]string{}
	for _, e := range entries {
		name := e.Name()
		to, err := os.Readlink(filepath.Join(sysKernelSlab, name))
		if err != nil {
			to = name
		}
		target[name] = filepath.Base(to)
		if _, ok := slabs[name]; ok {
			listed[target[name]] = name
		}
	}
	aliases := map[string]string{}
	for name, to := range target {
		if l, ok := listed[to]; ok {
			aliases[name] = l
		}
	}
	return aliases
}
