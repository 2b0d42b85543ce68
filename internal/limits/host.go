package limits

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/privilege"
)

// NoLimit stands for a limit beyond anything that a host could reach: unlimited, infinity, max.
const NoLimit = 1 << 62

// Host is where the limits are read. The zero value is the running host.
type Host struct {
	// Root is put before /proc and /sys: a made-up host of a test.
	Root string
	// SoftFiles is the soft RLIMIT_NOFILE that programs start with here; nil asks a child process.
	SoftFiles func() (uint64, error)
	// Capabilities are those that this process has here; nil asks the kernel.
	Capabilities privilege.Set
	// Datagram sends one to this process itself, over loopback; nil does.
	Datagram func() error
}

// Reading is what a limit is now.
type Reading struct {
	Now  uint64 // NoLimit for none
	Used uint64 // of it, by everybody
	// Where the limit is set, if that is more exact than the table: the file of a cgroup.
	Where string
	// Note says what the figures leave open.
	Note string
	// Idle says that the limit is not in the way as things are, however low it is.
	Idle bool
}

func (h Host) text(path string) (string, error) {
	b, err := os.ReadFile(h.Root + path)
	if err != nil {
		return "", readError(path, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// readError says in a few words why a limit is not known.
func readError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &unreadableError{fmt.Sprintf("this kernel, or this namespace, has no %s", path), err}
	case errors.Is(err, fs.ErrPermission):
		return &unreadableError{fmt.Sprintf("only root may read %s", path), err}
	}
	return fmt.Errorf("read %s: %w", path, err)
}

type unreadableError struct {
	text  string
	cause error
}

func (e *unreadableError) Error() string { return e.text }
func (e *unreadableError) Unwrap() error { return e.cause }

// fields are the numbers in a file.
func (h Host) fields(path string) ([]uint64, error) {
	text, err := h.text(path)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, field := range strings.Fields(text) {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("parse %s: %q is no number", path, field)
		}
		numbers = append(numbers, n)
	}
	if len(numbers) == 0 {
		return nil, fmt.Errorf("parse %s: it is empty", path)
	}
	return numbers, nil
}

func sysctlPath(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }

// sysctl reads a limit that is one number.
func sysctl(name string) func(Host) (Reading, error) {
	return func(h Host) (Reading, error) {
		numbers, err := h.fields(sysctlPath(name))
		if err != nil {
			return Reading{}, err
		}
		return Reading{Now: min(numbers[0], NoLimit)}, nil
	}
}

// with adds to a reading what else has to be read.
func with(read func(Host) (Reading, error), add func(Host, *Reading) error) func(Host) (Reading, error) {
	return func(h Host) (Reading, error) {
		r, err := read(h)
		if err == nil {
			err = add(h, &r)
		}
		return r, err
	}
}

func readFileMax(h Host) (Reading, error) {
	n, err := h.fields("/proc/sys/fs/file-nr") // used, free (always 0), maximum
	if err != nil {
		return Reading{}, err
	}
	if len(n) != 3 {
		return Reading{}, fmt.Errorf("parse /proc/sys/fs/file-nr: %d numbers in it, want 3", len(n))
	}
	return Reading{Used: n[0], Now: min(n[2], NoLimit)}, nil
}

// ownLimits is the file with this process's resource limits; the others are lines in it.
const (
	ownLimits = "/proc/self/limits"
	openFiles = "Max open files"
	processes = "Max processes"
)

// processLimit reads the soft or hard column of a line in a file such as ownLimits; procfs gives the soft one only.
func processLimit(path, line string, hard bool) func(Host) (Reading, error) {
	return func(h Host) (Reading, error) {
		text, err := h.text(path)
		if err != nil {
			return Reading{}, err
		}
		for _, l := range strings.Split(text, "\n") {
			rest, ok := strings.CutPrefix(l, line)
			columns := strings.Fields(rest)
			if !ok || len(columns) < 2 {
				continue
			}
			column := columns[0]
			if hard {
				column = columns[1]
			}
			n, err := parseLimit(column)
			if err != nil {
				return Reading{}, fmt.Errorf("parse %s: %w", path, err)
			}
			return Reading{Now: n}, nil
		}
		return Reading{}, fmt.Errorf("parse %s: no line %q in it", path, line)
	}
}

func parseLimit(text string) (uint64, error) {
	if text == "unlimited" {
		return NoLimit, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", text)
	}
	return min(n, NoLimit), nil
}

func readSoftFiles(h Host) (Reading, error) {
	ask := h.SoftFiles
	if ask == nil {
		ask = softFilesOfChildren
	}
	n, err := ask()
	return Reading{Now: min(n, NoLimit)}, err
}

// softFilesOfChildren asks a child: Go raises the soft limit of its own process to the hard one before main, and gives
// the old one back to the programs that it starts (go.dev/issue/46279). Without a shell it takes the parent's.
func softFilesOfChildren() (uint64, error) {
	out, err := exec.Command("/bin/sh", "-c", "ulimit -Sn").Output()
	if err != nil {
		r, errParent := processLimit(fmt.Sprintf("/proc/%d/limits", os.Getppid()), openFiles, false)(Host{})
		if errParent != nil {
			return 0, fmt.Errorf("ask /bin/sh for ulimit -Sn: %w", err)
		}
		return r.Now, nil
	}
	n, err := parseLimit(strings.TrimSpace(string(out)))
	if err != nil {
		return 0, fmt.Errorf("ask /bin/sh for ulimit -Sn: %w", err)
	}
	return n, nil
}

// addThreads adds the number of threads on the host (/proc/loadavg: "0.87 2.00 2.21 5/164 2560"), which procfs leaves out.
func addThreads(h Host, r *Reading) error {
	text, err := h.text("/proc/loadavg")
	if err != nil {
		return err
	}
	var a, b, c float64
	var running uint64
	if _, err := fmt.Sscanf(text, "%f %f %f %d/%d", &a, &b, &c, &running, &r.Used); err != nil {
		return fmt.Errorf("parse /proc/loadavg: %w", err)
	}
	return nil
}

func readMemAvailable(h Host) (Reading, error) {
	info, err := kernel.MeminfoBelow(h.Root + "/proc")
	if err != nil {
		return Reading{}, readError("/proc/meminfo", err)
	}
	return Reading{Now: info["MemAvailable"]}, nil
}

// readCgroup reads the tightest limit of a controller.
func readCgroup(files cgroupFiles) func(Host) (Reading, error) {
	return func(h Host) (Reading, error) {
		l, ok := tightestCgroup(h.Root+"/proc/self/cgroup", h.Root+"/sys/fs/cgroup", files)
		if !ok {
			return Reading{Now: NoLimit}, nil
		}
		return Reading{Now: l.max, Used: l.used, Where: strings.TrimPrefix(l.path, h.Root)}, nil
	}
}

// sockstat is a figure of the TCP line of /proc/net/sockstat; 0 where it has none.
func (h Host) sockstat(figure func(procfs.NetSockstatProtocol) *int) uint64 {
	fs, err := procfs.NewFS(h.Root + "/proc")
	if err != nil {
		return 0
	}
	stat, err := fs.NetSockstat()
	if err != nil {
		return 0
	}
	for _, p := range stat.Protocols {
		if n := figure(p); p.Protocol == "TCP" && n != nil {
			return uint64(max(*n, 0))
		}
	}
	return 0
}

var pageBytes = uint64(os.Getpagesize())

// readTCPMem reads the last of the three figures, in pages: beyond it no more data is queued on the whole host.
func readTCPMem(h Host) (Reading, error) {
	n, err := h.fields(sysctlPath("net.ipv4.tcp_mem"))
	if err != nil {
		return Reading{}, err
	}
	if len(n) != 3 {
		return Reading{}, fmt.Errorf("parse net.ipv4.tcp_mem: %d numbers in it, want 3", len(n))
	}
	pages := h.sockstat(func(tcp procfs.NetSockstatProtocol) *int { return tcp.Mem })
	return Reading{Now: min(n[2], NoLimit/pageBytes) * pageBytes, Used: pages * pageBytes}, nil
}

func addOrphans(h Host, r *Reading) error {
	r.Used = h.sockstat(func(tcp procfs.NetSockstatProtocol) *int { return tcp.Orphan })
	return nil
}

func addTimeWaits(h Host, r *Reading) error {
	r.Used = h.sockstat(func(tcp procfs.NetSockstatProtocol) *int { return tcp.TW })
	return nil
}

// addSyncookies tells whether the backlog counts at all: with SYN cookies a full one drops nothing (tcp_conn_request).
func addSyncookies(h Host, r *Reading) error {
	if n, err := h.fields(sysctlPath("net.ipv4.tcp_syncookies")); err == nil && n[0] != 0 {
		r.Idle, r.Note = true, fmt.Sprintf("counts only where net.ipv4.tcp_syncookies is 0; it is %d", n[0])
	}
	return nil
}

// readEstablishedHash reads the size in buckets. It is negative in a namespace that shares the first one's hash.
func readEstablishedHash(h Host) (Reading, error) {
	text, err := h.text(sysctlPath("net.ipv4.tcp_ehash_entries"))
	if errors.Is(err, fs.ErrNotExist) {
		return Reading{}, &unreadableError{"before Linux 6.1 only the boot messages tell: dmesg | grep 'TCP established hash'", err}
	}
	if err != nil {
		return Reading{}, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return Reading{}, fmt.Errorf("parse net.ipv4.tcp_ehash_entries: %q is no number", text)
	}
	if n < 0 {
		return Reading{Now: uint64(-n), Note: "shared with the host's first network namespace"}, nil
	}
	return Reading{Now: uint64(n)}, nil
}

// maxBindHash is the largest bind hash that the kernel makes (tcp_init: at most 64 Ki buckets).
const maxBindHash = 64 << 10

// readBindHash derives the size: the kernel makes the bind hash as large as the established one of the first network
// namespace, but no larger than maxBindHash, and shares it among all namespaces (tcp_init, inet_pernet_hashinfo_alloc).
func readBindHash(h Host) (Reading, error) {
	r, err := readEstablishedHash(h)
	if err != nil {
		return r, err
	}
	if !h.firstNamespace() && r.Note == "" {
		return Reading{Now: maxBindHash, Note: "at most; its size is that of the first network namespace's"}, nil
	}
	return Reading{Now: min(r.Now, maxBindHash), Note: "derived: as large as the established hash, at most 65,536"}, nil
}

// firstNamespace tells whether this is the network namespace that the host booted with: only that one has tcp_mem.
func (h Host) firstNamespace() bool {
	_, err := os.Stat(h.Root + sysctlPath("net.ipv4.tcp_mem"))
	return err == nil
}

// addNeighbours adds the entries of all namespaces: the first column, in hexadecimal, below its title.
func addNeighbours(h Host, r *Reading) error {
	text, err := h.text("/proc/net/stat/arp_cache")
	if err != nil {
		return nil // the limit is known, and its use is small
	}
	if lines := strings.Split(text, "\n"); len(lines) > 1 {
		first, _, _ := strings.Cut(lines[1], " ")
		r.Used, _ = strconv.ParseUint(first, 16, 64)
	}
	return nil
}

// netns is the inode number of the thread's network namespace, 0 where it is not known.
func (h Host) netns() uint64 {
	return inode(filepath.Join(h.Root, "/proc/thread-self/ns/net"))
}
