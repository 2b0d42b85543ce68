package kernel

import (
	"bufio"
	"compress/gzip"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Release is the running kernel's version (uname -r) and machine (uname -m).
func Release() (release, machine string) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown", "unknown"
	}
	return unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:])
}

// ConfigOption is the value of a build option ("y", "m", "n" for not set) of the running kernel, and whether the
// kernel's configuration could be read at all, from /proc/config.gz or /boot.
func ConfigOption(name string) (value string, known bool) {
	f, err := os.Open("/proc/config.gz")
	if err == nil {
		defer f.Close()
		if z, err := gzip.NewReader(f); err == nil {
			return scanConfig(z, name), true
		}
	}
	release, _ := Release()
	b, err := os.Open("/boot/config-" + release)
	if err != nil {
		return "", false
	}
	defer b.Close()
	return scanConfig(b, name), true
}

func scanConfig(r io.Reader, name string) string {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), name+"="); ok {
			return v
		}
	}
	return "n"
}

// BootID tells one running kernel from all others, empty where it cannot be read.
func BootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// HostName is the host's name, "unnamed" where it has none.
func HostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "unnamed"
	}
	return name
}
