package kernel

import (
	"os"
	"strconv"
	"strings"
)

// unifiedRoots are where the hierarchy of cgroup2 is mounted: alone, or beside those of v1.
var unifiedRoots = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

// DyingCgroups is how many cgroups have been deleted and are still held by something that is charged to them
// (nr_dying_descendants of the root, 4.14). It is not known where cgroup2 is not mounted.
func DyingCgroups() (n int64, known bool) {
	for _, root := range unifiedRoots {
		if n, known = dyingBelow(root); known {
			return n, true
		}
	}
	return 0, false
}

func dyingBelow(root string) (int64, bool) {
	text, err := os.ReadFile(root + "/cgroup.stat")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "nr_dying_descendants "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
