package kernel

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
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

// ParseSlabinfo reads /proc/slabinfo.
func ParseSlabinfo(r io.Reader) (map[string]Slab, error) {
	slabs := map[string]Slab{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "slabinfo") || strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		s, err := parseSlabLine(line)
		if err != nil {
			return nil, err
		}
		slabs[s.Name] = s
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read slabinfo: %w", err)
	}
	if len(slabs) == 0 {
		return nil, fmt.Errorf("parse slabinfo: no cache in it")
	}
	return slabs, nil
}

func parseSlabLine(line string) (Slab, error) {
	var s Slab
	_, err := fmt.Sscanf(line, "%s %d %d %d %d %d", &s.Name, &s.ActiveObjects, &s.Objects, &s.ObjectBytes,
		&s.ObjectsPerSlab, &s.PagesPerSlab)
	if err != nil {
		return s, fmt.Errorf("parse slabinfo line %q: %w", line, err)
	}
	_, data, ok := strings.Cut(line, "slabdata")
	if !ok {
		return s, fmt.Errorf("parse slabinfo line %q: no slabdata in it", line)
	}
	var active uint64
	if _, err := fmt.Sscanf(data, "%d %d", &active, &s.Slabs); err != nil {
		return s, fmt.Errorf("parse slabinfo line %q: %w", line, err)
	}
	return s, nil
}

// ReadSlabinfo reads the running kernel's /proc/slabinfo, which only root may.
func ReadSlabinfo() (map[string]Slab, error) {
	f, err := os.Open("/proc/slabinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ParseSlabinfo(f)
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
