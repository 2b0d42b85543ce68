package limits

import (
	"errors"
	"strings"
	"testing"
)

const gib = 1 << 30

func TestSafeConnectionsKeepToTheTighterLimit(t *testing.T) {
	roomy := FileTable{Max: 1 << 40}
	tests := []struct {
		name    string
		memory  uint64
		percent int
		files   FileTable
		want    int
	}{
		{"memory is the limit", 100 * 1000 * ConnectionBytes, 50, roomy, 50_000},
		{"a tenth of it", 100 * 1000 * ConnectionBytes, 10, roomy, 10_000},
		{"files are the limit, two a connection and 10,000 spared", 1 << 50, 50, FileTable{Used: 500, Max: 30_500}, 10_000},
		{"an odd file is no connection", 1 << 50, 50, FileTable{Max: 10_003}, 1},
		{"a file table that is full", 1 << 50, 50, FileTable{Used: 30_000, Max: 30_000}, 0},
		{"used beyond the maximum, as root may", 1 << 50, 50, FileTable{Used: 40_000, Max: 30_000}, 0},
		{"no memory", 0, 50, roomy, 0},
		{"half a connection is none", ConnectionBytes, 90, roomy, 0},
	}
	for _, test := range tests {
		if got := SafeConnections(Memory{AvailableBytes: test.memory}, test.percent, test.files, ConnectionBytes); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

// What SafeConnections offers has to pass the checks, and one more has not.
func TestSafeConnectionsAreThoseThatPass(t *testing.T) {
	for _, available := range []uint64{12345678, 5*gib + 7, 123 * gib} {
		for _, files := range []FileTable{{Used: 377, Max: 2_466_170}, {Used: 9, Max: 20_001}} {
			m := Memory{AvailableBytes: available}
			n := SafeConnections(m, 37, files, ConnectionBytes)
			if err := errors.Join(CheckMemory(n, m, 37, ConnectionBytes), CheckFiles(n, files)); err != nil {
				t.Errorf("%d of %d bytes, %+v: %v", n, available, files, err)
			}
			if errors.Join(CheckMemory(n+1, m, 37, ConnectionBytes), CheckFiles(n+1, files)) == nil {
				t.Errorf("%d bytes, %+v: %d are more than is safe, and pass", available, files, n+1)
			}
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

func TestTooFewFilesSayNeedHaveAndFix(t *testing.T) {
	refusal(t, CheckFiles(20_000, FileTable{Used: 400, Max: 30_400}), "20000 connections", "need about 40000 of fs.file-max",
		"20000 may be used", "lower --conns to 10000 or run: sysctl -w fs.file-max=50400")
	err := CheckFiles(1, FileTable{Used: 400, Max: 400})
	refusal(t, err, "run: sysctl -w fs.file-max=10402")
	if strings.Contains(err.Error(), "lower --conns") {
		t.Errorf("%q: not even one fits", err)
	}
}

func TestTheSysctlOfferedIsEnough(t *testing.T) {
	f := FileTable{Used: 400, Max: 50_400}
	if err := CheckFiles(20_000, f); err != nil {
		t.Error(err)
	}
	f.Max--
	if err := CheckFiles(20_000, f); err == nil {
		t.Error("one file less is enough as well")
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
