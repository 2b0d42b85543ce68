package vm

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/connprof/connprof/test/vm/wire"
)

// image makes the part of a kernel image that Release reads.
func image(t *testing.T, version string) string {
	t.Helper()
	content := make([]byte, 0x3000)
	copy(content[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(content[0x20e:], 0x2000)
	copy(content[0x2200:], version+"\x00")
	path := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReleaseOfAKernelImage(t *testing.T) {
	got, err := Release(image(t, "7.2.13+deb14-cloud-amd64 (debian-kernel@example.org) #1 SMP"))
	if want := "7.2.13+deb14-cloud-amd64"; err != nil || got != want {
		t.Errorf("release is %q, error %v, want %q", got, err, want)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("not a kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Release(other); err == nil || !strings.Contains(err.Error(), "no x86 kernel image") {
		t.Errorf("error for another file is %v, want one about no x86 kernel image", err)
	}
}

func TestKernelsThatLoseHitsGetOneCPU(t *testing.T) {
	for release, want := range map[string]int{"7.2.13+deb14-cloud-amd64": 1, "6.1.0-50-cloud-amd64": 2, "7.20.1": 2} {
		if got := defaultCPUs(release); got != want {
			t.Errorf("%s gets %d CPUs, want %d", release, got, want)
		}
	}
}

func TestMissingQemuSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Boot(context.Background(), Config{Vmlinuz: image(t, "6.1.0")})
	if err == nil || !strings.Contains(err.Error(), "apt-get install qemu-system-x86") {
		t.Errorf("error is %v, want the package to install in it", err)
	}
}

func TestVerdictNamesTheFirstCause(t *testing.T) {
	whole := Result{Commands: make([]wire.CommandResult, 2)}
	panicked := whole
	panicked.Console = "ok\n[ 2.0] Kernel panic - not syncing: Fatal exception\r\n[ 2.1] more"
	hung := errors.New("still running after 5s")
	for _, c := range []struct {
		name             string
		result           Result
		runErr, streamed error
		want             string
	}{
		{"all well", whole, nil, nil, ""},
		{"a panic", panicked, nil, wire.ErrIncomplete, "the kernel panicked: Kernel panic - not syncing: Fatal exception, after"},
		{"a panic that hangs", panicked, hung, wire.ErrIncomplete, "the kernel panicked"},
		{"a hang", whole, hung, wire.ErrIncomplete, "still running after 5s"},
		{"a stream cut short", whole, nil, wire.ErrIncomplete, wire.ErrIncomplete.Error()},
		{"a command that never reported", Result{}, nil, nil, "0 commands reported back of 2"},
	} {
		err := verdict(c.runErr, c.streamed, &c.result, 2)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: verdict is %v, want %q in it", c.name, err, c.want)
		}
	}
}

func TestLastLinesAreReadable(t *testing.T) {
	console := "first\r\n\x1bc\x1b[?7l\x1b[2Jsecond\r\nthi\x00rd\r\n"
	if got, want := lastLines(console, 2), "\tsecond\n\tthird"; got != want {
		t.Errorf("last lines are %q, want %q", got, want)
	}
}

func TestOnlyAPanicBeforeInitIsTheEmulators(t *testing.T) {
	const panicked = "[    0.353149] Kernel panic - not syncing: Fatal exception in interrupt\n"
	for _, c := range []struct {
		result Result
		before bool
	}{
		{Result{Console: panicked}, true},
		{Result{Console: panicked, Boot: wire.Boot{Release: "6.12.1"}}, false},
		{Result{Console: "[    0.1] Linux version 6.12.1\n"}, false},
	} {
		if got := c.result.panickedBeforeInit(); got != c.before {
			t.Errorf("%+v: %v, want %v", c.result, got, c.before)
		}
	}
}
