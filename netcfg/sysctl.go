package netcfg

import (
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Backlog is the length of the accept queue that the private namespace allows.
const Backlog = 65535

type sysctl struct{ name, value string }

// privateSysctls are set in the run's own namespace; the host's stay as they are.
var privateSysctls = []sysctl{
	{"net.core.somaxconn", strconv.Itoa(Backlog)},
	{"net.ipv4.tcp_max_syn_backlog", strconv.Itoa(Backlog)},
	// A reset, such as the answer to a FIN that was sent twice, must not end a TIME_WAIT before its time (RFC 1337).
	{"net.ipv4.tcp_rfc1337", "1"},
	// IP_LOCAL_PORT_RANGE only narrows this range.
	{"net.ipv4.ip_local_port_range", "1024 65535"},
}

func (p *Private) setSysctls(c Config) error {
	// As many sockets in TIME_WAIT as there are connections.
	timeWaits := sysctl{"net.ipv4.tcp_max_tw_buckets", strconv.Itoa(max(c.Sockets, 1<<10))}
	for _, s := range append([]sysctl{timeWaits}, privateSysctls...) {
		switch err := setSysctl(s.name, s.value); {
		case refused(err):
			p.Unset = append(p.Unset, s.name)
		case err != nil:
			return err
		}
	}
	if err := setBuffers(c); err != nil {
		return err
	}
	if c.IPv6 {
		if err := setSysctl("net.ipv6.conf.lo.disable_ipv6", "0"); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w; this kernel has no IPv6: leave out --ipv6", err)
			}
			return err
		}
	}
	return nil
}

// refused tells whether a sysctl is there and may not be written, as in a container.
func refused(err error) bool { return errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission) }

// HostBacklog is the longest accept queue that the current thread's network namespace allows, and that a run asks for.
func HostBacklog() int {
	b, _ := os.ReadFile("/proc/sys/net/core/somaxconn")
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < 1 {
		n = 128 // what it was on every kernel before 5.4
	}
	return min(n, Backlog)
}

// setSysctl writes a sysctl of the current thread's network namespace.
func setSysctl(name, value string) error {
	path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, unix.EROFS) {
		return fmt.Errorf("set %s to %s: /proc/sys is read-only here; run it outside the container: %w", name, value, err)
	}
	if err != nil {
		return fmt.Errorf("set sysctl %s=%s: %w", name, value, err)
	}
	defer f.Close()
	if _, err := f.WriteString(value); err != nil {
		return fmt.Errorf("set sysctl %s=%s: %w", name, value, err)
	}
	return nil
}

// hashEntries is a size for the established hash that keeps its chains at about one socket: the next power of two,
// within what the kernel accepts (tcp_child_ehash_entries, at most 16 Mi).
func hashEntries(sockets int) string {
	n := max(sockets, 1<<10)
	return strconv.Itoa(min(1<<bits.Len(uint(n-1)), 16<<20))
}
