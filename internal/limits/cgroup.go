package limits

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cgroupFiles names the files in which a controller keeps its limit and its use, in both versions of cgroups.
type cgroupFiles struct {
	controller       string
	v1Limit, v1Usage string
	v2Limit, v2Usage string
}

var (
	memoryCgroup = cgroupFiles{"memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "memory.max", "memory.current"}
	pidsCgroup   = cgroupFiles{"pids", "pids.max", "pids.current", "pids.max", "pids.current"}
)

// cgroupLimit is what one cgroup above this process allows.
type cgroupLimit struct {
	max, used uint64
	path      string // of the file with the limit
}

func (l cgroupLimit) left() uint64 { return l.max - min(l.used, l.max) }

// tightestCgroup is the limit with the least left of all cgroups above the process whose /proc/self/cgroup is given,
// below the root where cgroups are mounted. Without any limit it is false.
func tightestCgroup(procCgroup, root string, files cgroupFiles) (tightest cgroupLimit, ok bool) {
	text, err := os.ReadFile(procCgroup)
	if err != nil {
		return tightest, false
	}
	for _, line := range strings.Split(string(text), "\n") {
		parts := strings.SplitN(line, ":", 3)
		if len(parts) < 3 {
			continue
		}
		mount, limit, usage := v2Mount(root), files.v2Limit, files.v2Usage
		if parts[1] != "" {
			mount, limit, usage = filepath.Join(root, files.controller), files.v1Limit, files.v1Usage
			if !strings.Contains(","+parts[1]+",", ","+files.controller+",") {
				continue
			}
		}
		for dir := parts[2]; ; dir = filepath.Dir(dir) {
			l := cgroupLimit{path: filepath.Join(mount, dir, limit)}
			var okMax, okUsed bool
			l.max, okMax = readNumber(l.path)
			l.used, okUsed = readNumber(filepath.Join(mount, dir, usage))
			// Version 1 has the largest multiple of a page for no limit.
			if okMax && okUsed && l.max < NoLimit && (!ok || l.left() < tightest.left()) {
				tightest, ok = l, true
			}
			if dir == "/" || dir == "." {
				break
			}
		}
	}
	return tightest, ok
}

// v2Mount is where version 2 is mounted: at the root, or beside version 1.
func v2Mount(root string) string {
	beside := filepath.Join(root, "unified")
	if _, err := os.Stat(filepath.Join(beside, "cgroup.procs")); err == nil {
		return beside
	}
	return root
}

// cgroupHeadroom is the least that any memory cgroup above this process has left, v1 or v2.
func cgroupHeadroom(procCgroup, root string) (left uint64, where string) {
	if l, ok := tightestCgroup(procCgroup, root, memoryCgroup); ok {
		return l.left(), l.path
	}
	return math.MaxUint64, ""
}

func readNumber(path string) (uint64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil // "max" is no number: no limit
}
