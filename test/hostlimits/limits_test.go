//go:build vm

package hostlimits

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/netcfg"
	"github.com/connprof/connprof/test/vm/wire"
)

// The programs, as test/vm puts them into the virtual machine.
const (
	connprof = "/connprof"
	hold     = "/hold"
)

// childLimit ends a program that hangs.
const childLimit = 2 * time.Minute

// ordinary is a user whom the kernel exempts from nothing.
const ordinary = 64321

func TestMain(m *testing.M) {
	if _, err := os.Stat(wire.JobPath); err != nil || os.Getenv("CONNPROF_TEST_PROGRAM") != connprof {
		fmt.Fprintln(os.Stderr, "these tests lower limits of the whole host: make test-vm runs them in a virtual machine of their own")
		os.Exit(1)
	}
	spareThreads()
	os.Exit(m.Run())
}

// spareThreads has the runtime make threads that it keeps: while a test has the host run out of them it gets no more,
// and would end.
func spareThreads() {
	const spare = 8
	done := make(chan struct{})
	started := make(chan struct{}, spare)
	for range spare {
		go func() {
			started <- struct{}{}
			// A thread that blocks in a system call is out of the runtime's hands.
			_, _ = unix.Poll(nil, 200)
			<-done
		}()
	}
	for range spare {
		<-started
	}
	time.Sleep(400 * time.Millisecond)
	close(done)
}

// limit is one of the whole host, how it is run into, and what is then said.
type limit struct {
	name   string // as connprof check has it
	sysctl string
	small  func(t *testing.T, old string) string // the value that is run into
	// before readies the host.
	before func(t *testing.T)
	hold   string // the arguments of hold, which is run by the ordinary user where user is set
	user   bool
	kernel []string // what the kernel answers the program
	log    string   // what it logs
	check  string   // the arguments of connprof check, to which the connections do not fit
	// run is the arguments of a connprof run that names the limit, empty where it does not bind one.
	run, says string
	warns     bool // check names it and counts it for nothing; --fix leaves it alone
}

var hostLimits = []limit{
	{name: "open files (all)", sysctl: "fs.file-max", small: usedAnd("fs.file-nr", 100),
		hold: "300", user: true, kernel: []string{"socket: too many open files in system"},
		log: "VFS: file-max limit", check: "--conns 300 --as client",
		run: "--conns 300", says: "of open files (all) (fs.file-max) and it is "},
	{name: "epoll watches", sysctl: "fs.epoll.max_user_watches", small: fixed("60"),
		hold: "100 epoll", user: true, kernel: []string{"connection 31: epoll_ctl: no space left on device"},
		check: "--conns 100", run: "--conns 100", says: "100 connections need 200 of epoll watches (fs.epoll.max_user_watches) and it is 60"},
	{name: "threads (all)", sysctl: "kernel.threads-max", small: threadsAnd(320),
		hold: "350 fork", kernel: []string{"fork: resource temporarily unavailable"},
		check: "--conns 350 --as server --threads-per-connection",
		run:   "--conns 350 --threads-per-connection", says: "350 connections with a thread each need kernel.threads-max"},
	{name: "process IDs", sysctl: "kernel.pid_max", small: fixed("600"),
		hold: "350 fork", kernel: []string{"fork: resource temporarily unavailable"},
		check: "--conns 350 --as server --threads-per-connection",
		run:   "--conns 350 --threads-per-connection", says: "350 connections with a thread each need kernel.pid_max"},
	{name: "mappings", sysctl: "vm.max_map_count", small: fixed("1200"),
		hold: "700 stacks", kernel: []string{"cannot allocate memory"},
		check: "--conns 700 --as server --threads-per-connection",
		run:   "--conns 700 --threads-per-connection", says: "700 connections with a thread each need vm.max_map_count"},
	{name: "queued data", sysctl: "net.ipv4.tcp_mem", small: queuedAnd(768),
		hold: "60 unread", kernel: []string{"read: connection reset by peer"}, log: "TCP: out of memory -- consider tuning tcp_mem",
		check: "--conns 4000", warns: true},
	{name: "orphans", sysctl: "net.ipv4.tcp_max_orphans", small: fixed("5"),
		hold: "30 unread", kernel: []string{"read: connection reset by peer"}, log: "TCP: too many orphaned sockets",
		check: "--conns 1000", warns: true},
	{name: "conntrack", sysctl: "net.netfilter.nf_conntrack_max", small: fixed("50"), before: tracked,
		hold: "100", kernel: []string{"connect: connection timed out"}, log: "nf_conntrack: table full, dropping packet",
		check: "--conns 100 --as client"},
	{name: "neighbour table", sysctl: "net.ipv4.neigh.default.gc_thresh3", small: fixed("10"), before: manyPeers,
		hold: "40 peers 192.0.2.1", kernel: []string{"connect: connection timed out"}, log: "neighbor table overflow!",
		check: "--conns 40 --ips 40 --as server"},
}

func fixed(value string) func(*testing.T, string) string {
	return func(*testing.T, string) string { return value }
}

// usedAnd is some more than the first number of another sysctl.
func usedAnd(sysctl string, more int) func(*testing.T, string) string {
	return func(t *testing.T, _ string) string {
		used, err := strconv.Atoi(strings.Fields(get(t, sysctl))[0])
		if err != nil {
			t.Fatal(err)
		}
		return strconv.Itoa(used + more)
	}
}

// threadsAnd is some more than the threads there are.
func threadsAnd(more int) func(*testing.T, string) string {
	return func(t *testing.T, _ string) string {
		text, err := os.ReadFile("/proc/loadavg")
		if err != nil {
			t.Fatal(err)
		}
		var running, all int
		if _, err := fmt.Sscanf(strings.Fields(string(text))[3], "%d/%d", &running, &all); err != nil {
			t.Fatal(err)
		}
		return strconv.Itoa(all + more)
	}
}

// queuedAnd is some pages more than queues take now: what earlier tests left in them counts as well.
func queuedAnd(more int) func(*testing.T, string) string {
	return func(t *testing.T, _ string) string {
		text, err := os.ReadFile("/proc/net/sockstat")
		if err != nil {
			t.Fatal(err)
		}
		_, tcp, _ := strings.Cut(string(text), "\nTCP: ")
		var inuse, orphan, tw, alloc, pages int
		if _, err := fmt.Sscanf(tcp, "inuse %d orphan %d tw %d alloc %d mem %d", &inuse, &orphan, &tw, &alloc, &pages); err != nil {
			t.Fatalf("parse /proc/net/sockstat: %v", err)
		}
		return fmt.Sprintf("%d %d %d", pages+more/3, pages+more*2/3, pages+more)
	}
}

func path(sysctl string) string { return "/proc/sys/" + strings.ReplaceAll(sysctl, ".", "/") }

func get(t *testing.T, sysctl string) string {
	t.Helper()
	b, err := os.ReadFile(path(sysctl))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

func set(t *testing.T, sysctl, value string) {
	t.Helper()
	if err := os.WriteFile(path(sysctl), []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// changed sets a sysctl until the test ends.
func changed(t *testing.T, sysctl, value string) {
	t.Helper()
	old := get(t, sysctl)
	t.Cleanup(func() { set(t, sysctl, old) })
	set(t, sysctl, value)
}

// tracked has the connections of this host tracked.
func tracked(t *testing.T) {
	undo, err := trackConnections()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := undo(); err != nil {
			t.Error(err)
		}
	})
}

// manyPeers are hosts at the other end of a cable, all of them one that accepts what comes.
func manyPeers(t *testing.T) {
	peers, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, Sockets: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(peers.Close)
	var there *os.File
	do := func(f func() error) {
		t.Helper()
		if err := peers.Do(f); err != nil {
			t.Fatal(err)
		}
	}
	do(func() (err error) { there, err = os.Open("/proc/thread-self/ns/net"); return err })
	defer there.Close()
	near := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "cable"}, PeerName: "cable", PeerNamespace: netlink.NsFd(int(there.Fd()))}
	if err := netlink.LinkAdd(near); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netlink.LinkDel(near); err != nil {
			t.Error(err)
		}
	})
	if err := addresses("cable", 101, 101); err != nil {
		t.Fatal(err)
	}
	var listener int
	do(func() (err error) {
		if err := addresses("cable", 1, 40); err != nil {
			return err
		}
		if listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return errors.Join(unix.Bind(listener, &unix.SockaddrInet4{Port: 8090}), unix.Listen(listener, 1000))
	})
	t.Cleanup(func() { _ = unix.Close(listener) })
}

// addresses gives an interface those of 192.0.2.0/24 from one to another.
func addresses(device string, from, to int) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	for i := from; i <= to; i++ {
		a, err := netlink.ParseAddr(fmt.Sprintf("192.0.2.%d/24", i))
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, a); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(link)
}

// transcript is what a person would have on the screen.
type transcript struct{ bytes.Buffer }

// runs runs a program to its end and notes what was typed and what came.
func (s *transcript) runs(t *testing.T, user bool, line string) (code int, out string) {
	t.Helper()
	args := strings.Fields(line)
	cmd := exec.Command("/"+args[0], args[1:]...)
	cmd.Dir, cmd.Env = t.TempDir(), []string{"PATH=/"}
	prompt := "# "
	if user {
		prompt = "$ "
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinary, Gid: ordinary}}
		cmd.Dir = "/"
	}
	began := time.Now()
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", line, err)
	}
	hung := time.AfterFunc(childLimit, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %s: %v", line, err)
	}
	t.Logf("%s took %.2f s\n%s", line, time.Since(began).Seconds(), both.String())
	fmt.Fprintf(s, "%s%s\n%s", prompt, line, shown(both.String()))
	return cmd.ProcessState.ExitCode(), both.String()
}

// shown is the part of an output that the page has: not the table, the progress or the explanations.
func shown(out string) (lines string) {
	for _, line := range strings.SplitAfter(out, "\n") {
		if strings.HasPrefix(line, "connection ") || strings.HasPrefix(line, "connprof: ") || strings.HasSuffix(line, " connections\n") ||
			strings.Contains(line, " -> ") {
			lines += line
		}
	}
	return lines
}

func says(t *testing.T, what, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(blanks(text), want) {
			t.Errorf("%s does not say %q:\n%s", what, want, text)
		}
	}
}

// blanks makes one of several: the widths of columns differ.
func blanks(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	return strings.Join(lines, "\n")
}

// kernelLog is what the kernel logs from now on.
type kernelLog struct{ fd int }

func openLog(t *testing.T) kernelLog {
	t.Helper()
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Seek(fd, 0, unix.SEEK_END)
	}
	if err != nil {
		t.Fatalf("open the kernel's log: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return kernelLog{fd}
}

// line is the first one with a text in it, empty if there is none.
func (l kernelLog) line(want string) string {
	record := make([]byte, 8<<10)
	for {
		n, err := unix.Read(l.fd, record)
		if errors.Is(err, unix.EPIPE) { // overwritten meanwhile
			continue
		}
		if err != nil || n == 0 {
			return ""
		}
		_, message, _ := strings.Cut(string(record[:n]), ";")
		message, _, _ = strings.Cut(message, "\n")
		if strings.Contains(message, want) {
			return message
		}
	}
}

func TestLimitsOfTheWholeHost(t *testing.T) {
	for _, l := range hostLimits {
		t.Run(l.name, l.walk)
	}
}

// walk runs into the limit, has connprof name and raise it, and puts it back.
func (l limit) walk(t *testing.T) {
	s := &transcript{}
	defer func() { s.keep(t, l.name) }()
	if l.before != nil {
		l.before(t)
	}
	changed(t, "net.core.message_cost", "0") // else the kernel logs no more than ten lines in five seconds
	log := openLog(t)
	small := l.small(t, get(t, l.sysctl))
	changed(t, l.sysctl, small)
	fmt.Fprintf(s, "# sysctl -w %s=%s\n", l.sysctl, quoted(small))

	code, out := s.runs(t, l.user, "hold "+l.hold)
	if code != 1 {
		t.Errorf("hold ran into nothing: exit status %d\n%s", code, out)
	}
	says(t, "the kernel", out, l.kernel...)
	if l.log != "" {
		line := log.line(l.log)
		if line == "" {
			t.Errorf("the kernel's log does not say %q", l.log)
		}
		fmt.Fprintf(s, "the kernel's log: %s\n", line)
	}
	fix := l.named(t, s)
	if l.run != "" {
		code, out := s.runs(t, false, "connprof run "+l.run)
		if code != 1 {
			t.Errorf("connprof run: exit status %d\n%s", code, out)
		}
		says(t, "connprof run", lastLine(out), l.says)
	}
	if l.warns {
		set(t, l.sysctl, fix)
		fmt.Fprintf(s, "# sysctl -w %s=%s\n", l.sysctl, quoted(fix))
		l.fits(t, s)
		return
	}
	code, out = s.runs(t, false, "connprof check --fix "+l.check)
	if code != 0 {
		t.Errorf("connprof check --fix: exit status %d\n%s", code, out)
	}
	says(t, "connprof check --fix", out, l.sysctl+": "+small+" -> "+get(t, l.sysctl))
	l.fits(t, s)
	code, out = s.runs(t, false, "connprof check --restore")
	if code != 0 || get(t, l.sysctl) != small {
		t.Errorf("connprof check --restore: exit status %d, and %s is %s, want %s\n%s", code, l.sysctl, get(t, l.sysctl), small, out)
	}
}

// fits runs the program again, which no longer runs into anything.
func (l limit) fits(t *testing.T, s *transcript) {
	t.Helper()
	n, _, _ := strings.Cut(l.hold, " ")
	if code, out := s.runs(t, l.user, "hold "+l.hold); code != 0 || out != n+" connections\n" {
		t.Errorf("with the limit raised: exit status %d\n%s", code, out)
	}
}

// named has connprof check name the limit, and gives out the value that it says would do.
func (l limit) named(t *testing.T, s *transcript) (fix string) {
	t.Helper()
	code, out := s.runs(t, false, "connprof check "+l.check)
	fix, ok := valueFor(l.sysctl, out)
	if !ok {
		t.Fatalf("check has no value for %s:\n%s", l.sysctl, out)
	}
	if l.warns {
		says(t, "connprof check", out, "> sysctl -w "+l.sysctl+"="+quoted(fix))
		fmt.Fprint(s, row(out, l.name))
		return fix
	}
	if code != 1 {
		t.Errorf("connprof check: exit status %d", code)
	}
	says(t, "connprof check", lastLine(out), "do not fit: stopped at ", " by "+l.name+" ("+l.sysctl+"); fix: sysctl -w "+l.sysctl+"=")
	return fix
}

// valueFor is what check would set a sysctl to.
func valueFor(sysctl, out string) (value string, ok bool) {
	_, after, ok := strings.Cut(out, "> sysctl -w "+sysctl+"=")
	value, _, _ = strings.Cut(after, "\n")
	return strings.Trim(value, "'"), ok
}

func quoted(value string) string {
	if strings.Contains(value, " ") {
		return "'" + value + "'"
	}
	return value
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return lines[len(lines)-1]
}

// row is a limit's in the table, with the lines below that belong to it.
func row(table, name string) string {
	_, after, _ := strings.Cut(table, "\n  "+name)
	text := "  " + name
	for i, line := range strings.SplitAfter(after, "\n") {
		if i > 0 && !strings.HasPrefix(line, "    ") {
			break
		}
		text += line
	}
	return text
}

// keep sends the transcript to the host, which holds docs/guide/limits.md against it.
func (s *transcript) keep(t *testing.T, name string) {
	t.Log("\n" + s.String())
	file := filepath.Join(wire.OutDir, wire.LimitsDir, name+".txt")
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, s.Bytes(), 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}
