package owner

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// someone is a process of a made-up /proc.
type someone struct {
	pid, parent int
	comm        string
	uid         uint32
	cgroups     string
	start       uint64
}

// makeProc writes a /proc of some processes, and says that no other exists.
func makeProc(t *testing.T, processes ...someone) Reader {
	t.Helper()
	root := t.TempDir()
	for _, p := range processes {
		dir := filepath.Join(root, strconv.Itoa(p.pid))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			// proc_pid_stat(5): 50 fields follow the name. Field 4 is the parent, field 22 the start.
			"stat": fmt.Sprintf("%d (%s) S %d%s %d%s\n", p.pid, p.comm, p.parent, strings.Repeat(" 0", 17), p.start,
				strings.Repeat(" 0", 30)),
			"status": fmt.Sprintf("Name:\tx\nTgid:\t%d\nUid:\t%d\t%d\t%d\t%d\nThreads:\t1\n", p.pid, p.uid+1, p.uid, p.uid+2, p.uid+3),
			"cgroup": p.cgroups,
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return Reader{Proc: root, Exists: func(int) bool { return false }}
}
