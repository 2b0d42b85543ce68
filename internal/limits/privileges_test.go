package limits

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestEffectiveCapabilitiesAreThoseOfTheStatus(t *testing.T) {
	tests := []struct {
		name, status string
		want         uint64
		say          string // in the error
	}{
		{"root", "Name:\tx\nCapPrm:\t0000000000000001\nCapEff:\t000001fffeffffff\nCapBnd:\t0000000000000002\n",
			0x1fffeffffff, ""},
		{"none", "CapInh:\t0000000000000000\nCapEff:\t0000000000000000\n", 0, ""},
		{"no such line", "Name:\tx\nCapPrm:\t000001ffffffffff\n", 0, "no CapEff"},
		{"empty", "", 0, "no CapEff"},
		{"not a number", "CapEff:\twhat\n", 0, "what"},
	}
	for _, test := range tests {
		path := writeFile(t, filepath.Join(t.TempDir(), "status"), test.status)
		got, err := effectiveCapabilities(path)
		switch {
		case test.say == "" && (err != nil || got != test.want):
			t.Errorf("%s: %#x, %v; want %#x", test.name, got, err, test.want)
		case test.say != "" && err == nil:
			t.Errorf("%s: no error", test.name)
		case test.say != "" && !(strings.Contains(err.Error(), test.say) &&
			strings.HasPrefix(err.Error(), "read this process's capabilities: ")):
			t.Errorf("%s: %q does not say what was tried and %q", test.name, err, test.say)
		}
	}
}

func TestWithoutProcTheCapabilitiesAreUnknown(t *testing.T) {
	_, err := effectiveCapabilities(filepath.Join(t.TempDir(), "status"))
	if err == nil || !strings.Contains(err.Error(), "/proc mounted") {
		t.Errorf("got %v, want an error that asks for /proc", err)
	}
}

// These tests run as root, with what a run needs.
func TestRootMayRun(t *testing.T) {
	if err := CheckPrivileges(); err != nil {
		t.Error(err)
	}
}

// Numbers as in include/uapi/linux/capability.h.
func TestCapabilitiesHaveTheKernelsNumbers(t *testing.T) {
	numbers := map[string]int{"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_SYSLOG": 34, "CAP_PERFMON": 38, "CAP_BPF": 39}
	for _, c := range capabilities {
		if n, ok := numbers[c.name]; !ok || n != c.bit {
			t.Errorf("%s has number %d here, %d in the kernel", c.name, c.bit, n)
		}
		delete(numbers, c.name)
	}
	for name := range numbers {
		t.Errorf("%s is not asked for", name)
	}
}
