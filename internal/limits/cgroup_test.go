package limits

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// cgroupTree makes files below a folder like /sys/fs/cgroup, and beside it one like /proc/self/cgroup.
func cgroupTree(t *testing.T, membership string, files map[string]string) (procCgroup, root string) {
	t.Helper()
	dir := t.TempDir()
	root = filepath.Join(dir, "cgroup")
	for name, text := range files {
		writeFile(t, filepath.Join(root, name), text)
	}
	return writeFile(t, filepath.Join(dir, "self"), membership), root
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const noLimit = math.MaxUint64

func TestHeadroomIsTheLeastOfAllMemoryCgroupsAbove(t *testing.T) {
	tests := []struct {
		name       string
		membership string
		files      map[string]string
		left       uint64
		where      string // below the root
	}{
		{"v2, its own", "0::/a\n", map[string]string{"a/memory.max": "1000\n", "a/memory.current": "300\n"}, 700,
			"a/memory.max"},
		{"v2, an outer one has less left", "0::/a/b/c\n", map[string]string{
			"a/memory.max": "1000\n", "a/memory.current": "900\n",
			"a/b/memory.max": "max\n", "a/b/memory.current": "850\n",
			"a/b/c/memory.max": "500\n", "a/b/c/memory.current": "300\n"}, 100, "a/memory.max"},
		{"v2, the inner one has less left", "0::/a/b\n", map[string]string{
			"a/memory.max": "1000\n", "a/memory.current": "100\n",
			"a/b/memory.max": "150\n", "a/b/memory.current": "100\n"}, 50, "a/b/memory.max"},
		{"v2, the root of a container", "0::/\n", map[string]string{"memory.max": "1000\n", "memory.current": "1\n"}, 999,
			"memory.max"},
		{"v2, max everywhere", "0::/a/b\n", map[string]string{"a/memory.max": "max\n", "a/memory.current": "5\n",
			"a/b/memory.max": "max\n", "a/b/memory.current": "5\n"}, noLimit, ""},
		{"v2, over the limit", "0::/a\n", map[string]string{"a/memory.max": "1000\n", "a/memory.current": "1500\n"}, 0,
			"a/memory.max"},
		{"v2, a sibling does not count", "0::/a\n", map[string]string{"b/memory.max": "10\n", "b/memory.current": "9\n"},
			noLimit, ""},
		{"v1", "9:name=systemd:/\n4:memory:/a/b\n0::/\n", map[string]string{
			"memory/a/memory.limit_in_bytes": "1000\n", "memory/a/memory.usage_in_bytes": "400\n",
			"memory/a/b/memory.limit_in_bytes": "9223372036854771712\n", "memory/a/b/memory.usage_in_bytes": "400\n"},
			600, "memory/a/memory.limit_in_bytes"},
		{"v1, over the limit", "4:memory:/a\n", map[string]string{"memory/a/memory.limit_in_bytes": "1000\n",
			"memory/a/memory.usage_in_bytes": "1001\n"}, 0, "memory/a/memory.limit_in_bytes"},
		{"v1, mounted with another controller", "4:cpuset,memory:/a\n", map[string]string{
			"memory/a/memory.limit_in_bytes": "8\n", "memory/a/memory.usage_in_bytes": "3\n"}, 5,
			"memory/a/memory.limit_in_bytes"},
		{"v1, another controller's folder of that name", "3:cpuset:/a\n", map[string]string{
			"memory/a/memory.limit_in_bytes": "8\n", "memory/a/memory.usage_in_bytes": "3\n"}, noLimit, ""},
		{"a limit without a usage tells nothing", "0::/a\n", map[string]string{"a/memory.max": "1000\n"}, noLimit, ""},
		{"a path with a colon", "0::/a:b\n", map[string]string{"a:b/memory.max": "9\n", "a:b/memory.current": "2\n"}, 7,
			"a:b/memory.max"},
		{"a cgroup outside the namespace's root", "0::/../other\n", map[string]string{"memory.max": "9\n",
			"memory.current": "2\n"}, 7, "memory.max"},
		{"no cgroups", "", nil, noLimit, ""},
		{"nonsense", "memory\n::\n4:memory\n", nil, noLimit, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			proc, root := cgroupTree(t, test.membership, test.files)
			left, where := cgroupHeadroom(proc, root)
			where = strings.TrimPrefix(strings.TrimPrefix(where, root), "/")
			if left != test.left || where != test.where {
				t.Errorf("%d left by %q, want %d by %q", left, where, test.left, test.where)
			}
		})
	}
}

func TestWithoutProcThereIsNoCgroupLimit(t *testing.T) {
	if left, where := cgroupHeadroom(filepath.Join(t.TempDir(), "none"), "/"); left != noLimit || where != "" {
		t.Errorf("%d left by %q, want no limit", left, where)
	}
}
