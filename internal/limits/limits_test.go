package limits

import (
	"errors"
	"strings"
	"testing"
)

const gib = 1 << 30

func TestSafeConnectionsKeepToTheMemory(t *testing.T) {
	for _, test := range []struct {
		memory  uint64
		percent int
		want    int
	}{{100 * 1000 * ConnectionBytes, 50, 50_000}, {100 * 1000 * ConnectionBytes, 10, 10_000}, {0, 50, 0}, {ConnectionBytes, 90, 0}} {
		if got, _ := Safe(Memory{AvailableBytes: test.memory}, test.percent, ConnectionBytes); got != test.want {
			t.Errorf("%+v: %d", test, got)
		}
	}
}

// What Safe offers passes the check, and one more does not.
func TestSafeConnectionsAreThoseThatPass(t *testing.T) {
	for _, available := range []uint64{12345678, 5*gib + 7, 123 * gib} {
		m := Memory{AvailableBytes: available}
		n, _ := Safe(m, 37, ConnectionBytes)
		if err := CheckMemory(n, m, 37, ConnectionBytes); err != nil {
			t.Errorf("%d of %d bytes: %v", n, available, err)
		}
		if CheckMemory(n+1, m, 37, ConnectionBytes) == nil {
			t.Errorf("%d bytes: %d are more than is safe, and pass", available, n+1)
		}
	}
}

func TestWhatJustFitsIsAllowed(t *testing.T) {
	m := Memory{AvailableBytes: 200 * 70 * ConnectionBytes}
	if err := CheckMemory(7000, m, 50, ConnectionBytes); err != nil {
		t.Error(err)
	}
	if err := CheckMemory(7001, m, 50, ConnectionBytes); err == nil {
		t.Error("one more is allowed")
	}
}

// refusal checks that err is a *TooMuchError whose text has all the parts.
func refusal(t *testing.T, err error, parts ...string) {
	t.Helper()
	var tooMuch *TooMuchError
	if !errors.As(err, &tooMuch) {
		t.Fatalf("got %v, want a *TooMuchError", err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}

func TestTooLittleMemorySaysNeedHaveAndFix(t *testing.T) {
	m := Memory{AvailableBytes: 2 * gib, Limit: "MemAvailable"}
	refusal(t, CheckMemory(1_000_000, m, 50, ConnectionBytes), "1000000 connections", "need about 8790 MiB of memory", "1024 MiB may be used",
		"lower --conns to 116508", "raise --allow-memory (now 50 % of MemAvailable)")
}

func TestMuchMemoryIsSaidInGiB(t *testing.T) {
	m := Memory{AvailableBytes: 40 * gib, Limit: "MemAvailable"}
	refusal(t, CheckMemory(10_000_000, m, 50, ConnectionBytes), "need about 86 GiB of memory", "20 GiB may be used")
}

func TestTheLimitThatBindsIsNamed(t *testing.T) {
	m := Memory{AvailableBytes: gib, Limit: "/sys/fs/cgroup/box/memory.max"}
	refusal(t, CheckMemory(1_000_000, m, 50, ConnectionBytes), "/sys/fs/cgroup/box/memory.max")
}

func TestAtTheLargestShareNoLargerOneIsOffered(t *testing.T) {
	m := Memory{AvailableBytes: 2 * gib, Limit: "MemAvailable"}
	err := CheckMemory(1_000_000, m, MaxAllowPercent, ConnectionBytes)
	refusal(t, err, "lower --conns to")
	if strings.Contains(err.Error(), "--allow-memory") {
		t.Errorf("%q offers more than %d %%", err, MaxAllowPercent)
	}
	refusal(t, CheckMemory(1_000_000, m, MaxAllowPercent-1, ConnectionBytes), "raise --allow-memory (now 89 %")
}

func TestWhereNotOneFitsNoneIsNotTheAdvice(t *testing.T) {
	err := CheckMemory(1, Memory{AvailableBytes: 1000, Limit: "MemAvailable"}, MaxAllowPercent, ConnectionBytes)
	refusal(t, err, "free some memory")
	if strings.Contains(err.Error(), "--conns to 0") {
		t.Errorf("%q: --conns 0 is refused", err)
	}
}

func TestThisHostsMemoryIsSane(t *testing.T) {
	m, err := ReadMemory()
	if err != nil {
		t.Fatal(err)
	}
	if m.TotalBytes < 16<<20 || m.AvailableBytes == 0 || m.AvailableBytes > m.TotalBytes || m.Limit == "" {
		t.Errorf("%+v", m)
	}
}

func TestThisHostsFileTableIsSane(t *testing.T) {
	f, err := ReadFileTable()
	if err != nil {
		t.Fatal(err)
	}
	if f.Max < 1000 || f.Used > f.Max { // the kernel's counter of used files is not exact: it may show 0
		t.Errorf("%+v", f)
	}
}
