package kernel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const testMeminfo = `MemTotal:       24612344 kB
MemFree:        20110000 kB
MemAvailable:   23000000 kB
Active(anon):       1044 kB
Slab:             113172 kB
SReclaimable:      60320 kB
KernelStack:        3312 kB
PageTables:            7 kB
HugePages_Total:       3
Hugepagesize:       2048 kB
`

// procWith is a directory with one file of /proc.
func procWith(t *testing.T, name, content string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMeminfoIsInBytes(t *testing.T) {
	m, err := MeminfoBelow(procWith(t, "meminfo", testMeminfo))
	if err != nil {
		t.Fatal(err)
	}
	want := Meminfo{"MemTotal": 24612344 * 1024, "MemAvailable": 23000000 * 1024, "Slab": 113172 * 1024,
		"KernelStack": 3312 * 1024, "PageTables": 7 * 1024}
	if len(m) != len(want) {
		t.Errorf("%d figures read, want %d: %v", len(m), len(want), m)
	}
	for name, n := range want {
		if m[name] != n {
			t.Errorf("%s is %d, want %d", name, m[name], n)
		}
	}
}

func TestMeminfoWithoutSlabIsAnError(t *testing.T) {
	tests := []struct{ name, text, say string }{
		{"empty", "", "Slab"},
		{"no Slab line", "MemTotal:       24612344 kB\nSReclaimable:      60320 kB\n", "Slab"},
		{"cut off in the Slab line", "MemTotal:       24612344 kB\nSlab:", "Slab"},
		{"not a number", "MemTotal:       much kB\nSlab: 1 kB\n", "much"},
	}
	for _, test := range tests {
		m, err := MeminfoBelow(procWith(t, "meminfo", test.text))
		if err == nil {
			t.Errorf("%s: no error, got %v", test.name, m)
		} else if !strings.Contains(err.Error(), test.say) {
			t.Errorf("%s: error %q does not say %q", test.name, err, test.say)
		}
	}
}

func TestRunningKernelsMeminfo(t *testing.T) {
	m, err := ReadMeminfo()
	if err != nil {
		t.Fatal(err)
	}
	if m["MemTotal"] < 16<<20 || m["Slab"] == 0 || m["Slab"] >= m["MemTotal"] || m["MemAvailable"] > m["MemTotal"] ||
		m["KernelStack"] == 0 || m["PageTables"] == 0 {
		t.Errorf("these figures do not fit together: %v", m)
	}
}
