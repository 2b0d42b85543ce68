package kernel

import (
	"strings"
	"testing"
)

const testMeminfo = `MemTotal:       24612344 kB
MemFree:        20110000 kB
MemAvailable:   23000000 kB
Active(anon):       1044 kB
Slab:             113172 kB
SReclaimable:      60320 kB
HugePages_Total:       3
Hugepagesize:       2048 kB
`

func TestMeminfoIsInBytes(t *testing.T) {
	m, err := ParseMeminfo(strings.NewReader(testMeminfo))
	if err != nil {
		t.Fatal(err)
	}
	want := Meminfo{"MemTotal": 24612344 * 1024, "MemFree": 20110000 * 1024, "MemAvailable": 23000000 * 1024,
		"Active(anon)": 1044 * 1024, "Slab": 113172 * 1024, "SReclaimable": 60320 * 1024,
		"HugePages_Total": 3, // a count, not kB
		"Hugepagesize":    2048 * 1024}
	if len(m) != len(want) {
		t.Errorf("%d lines read, want %d: %v", len(m), len(want), m)
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
		m, err := ParseMeminfo(strings.NewReader(test.text))
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
	if m["MemTotal"] < 16<<20 || m["Slab"] == 0 || m["Slab"] >= m["MemTotal"] || m["MemAvailable"] > m["MemTotal"] {
		t.Errorf("MemTotal %d, MemAvailable %d, Slab %d do not fit together", m["MemTotal"], m["MemAvailable"], m["Slab"])
	}
}
