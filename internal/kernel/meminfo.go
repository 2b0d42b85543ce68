package kernel

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Meminfo is /proc/meminfo in bytes, by the kernel's names (MemTotal, MemAvailable, Slab, ...).
type Meminfo map[string]uint64

// ParseMeminfo reads the format of /proc/meminfo.
func ParseMeminfo(r io.Reader) (Meminfo, error) {
	m := Meminfo{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, rest, ok := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(rest)
		if !ok || len(fields) == 0 {
			continue
		}
		n, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("parse meminfo line %q: %w", lines.Text(), err)
		}
		if len(fields) > 1 && fields[1] == "kB" {
			n <<= 10
		}
		m[name] = n
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read meminfo: %w", err)
	}
	if _, ok := m["Slab"]; !ok {
		return nil, fmt.Errorf("parse meminfo: no Slab line in it")
	}
	return m, nil
}

// ReadMeminfo reads the running kernel's /proc/meminfo.
func ReadMeminfo() (Meminfo, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ParseMeminfo(f)
}
