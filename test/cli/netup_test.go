package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/netcfg"
)

// hosts are two namespaces and a cable between them, eth0 at both ends. owner is the MAC of far's end.
type hosts struct {
	near, far *netcfg.Private
	owner     string
}

// newHosts gives far the addresses. ok is false on a kernel without virtual Ethernet pairs.
func newHosts(t *testing.T, cidrs ...string) (h hosts, ok bool) {
	t.Helper()
	h = unconnected(t)
	if err := h.connect(t, "eth0"); !offered(t, "CONFIG_VETH", err) {
		return h, false
	}
	inside(t, h.far, func() error { return addAddresses("eth0", cidrs...) })
	h.ready(t, "eth0", "eth0")
	return h, true
}

func unconnected(t *testing.T) hosts {
	t.Helper()
	return hosts{near: newHost(t, 10), far: newHost(t, 10)}
}

// newHost is a namespace for that many sockets, without an interface that leads out.
func newHost(t *testing.T, sockets int) *netcfg.Private {
	t.Helper()
	p, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, Sockets: sockets})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// offered tells whether the kernel made an interface of a kind. If not, it must be because it has no such kind.
func offered(t *testing.T, option string, err error) bool {
	t.Helper()
	if errors.Is(err, unix.EOPNOTSUPP) {
		if value, known := kernel.ConfigOption(option); known && value == "y" {
			t.Errorf("the kernel has %s and makes no such interface: %v", option, err)
		}
		t.Logf("this kernel has no interfaces of this kind (%s): %v", option, err)
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	return true
}

// connect puts cables between the hosts, of the same name at both ends, and sets both ends up.
func (h hosts) connect(t *testing.T, names ...string) error {
	t.Helper()
	var there *os.File
	inside(t, h.far, func() (err error) { there, err = os.Open("/proc/thread-self/ns/net"); return err })
	defer there.Close()
	for _, name := range names {
		err := h.near.Do(func() error {
			return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name,
				PeerNamespace: netlink.NsFd(int(there.Fd()))})
		})
		if err != nil {
			return err
		}
	}
	for _, p := range []*netcfg.Private{h.near, h.far} {
		inside(t, p, func() error {
			for _, name := range names {
				if err := setUp(name); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return nil
}

// ready waits until an interface of each host can send, and notes who far is.
func (h *hosts) ready(t *testing.T, near, far string) {
	t.Helper()
	inside(t, h.near, func() error { return untilCarrier(near) })
	inside(t, h.far, func() error {
		if err := untilCarrier(far); err != nil {
			return err
		}
		link, err := netlink.LinkByName(far)
		if err == nil {
			h.owner = link.Attrs().HardwareAddr.String()
		}
		return err
	})
}

func inside(t *testing.T, p *netcfg.Private, f func() error) {
	t.Helper()
	if err := p.Do(f); err != nil {
		t.Fatal(err)
	}
}

func setUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

func untilCarrier(name string) error {
	const carrier = unix.IFF_RUNNING | unix.IFF_LOWER_UP
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if link.Attrs().RawFlags&carrier == carrier {
			return nil
		}
	}
	return errors.New(name + " has no carrier after a minute")
}

// addAddresses adds what an admin would, for use at once.
func addAddresses(name string, cidrs ...string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, cidr := range cidrs {
		a, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		if a.IP.To4() == nil {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, a); err != nil {
			return err
		}
	}
	return nil
}

// addresses are those of near's eth0.
func (h hosts) addresses(t *testing.T) []string {
	t.Helper()
	list, _ := h.labelled(t, "eth0")
	return list
}

// labelled are the addresses of one of near's interfaces with their labels, but for the link-local one that the kernel
// gives it.
func (h hosts) labelled(t *testing.T, device string) (list, labels []string) {
	t.Helper()
	inside(t, h.near, func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		all, err := netlink.AddrList(link, netlink.FAMILY_ALL)
		for errors.Is(err, netlink.ErrDumpInterrupted) { // addresses came or went meanwhile: the kernel asks for another look
			all, err = netlink.AddrList(link, netlink.FAMILY_ALL)
		}
		for _, a := range all {
			if !a.IP.IsLinkLocalUnicast() {
				list, labels = append(list, a.IPNet.String()), append(labels, a.Label)
			}
		}
		return err
	})
	return list, labels
}

// runs runs a child on near to its end.
func (h hosts) runs(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := h.near.Start(cmd); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(childLimit, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	return ended(t, cmd, cmd.Wait(), out.String(), errs.String())
}

// connprof runs a command line on near. JOURNAL stands for a file in a directory of its own.
func (h hosts) connprof(t *testing.T, journal, line string) result {
	t.Helper()
	return h.runs(t, command(t, strings.Fields(strings.ReplaceAll(line, "JOURNAL", journal))...))
}

// clean checks that near has no address on eth0 and that no file is left beside the journal.
func (h hosts) clean(t *testing.T, journal string) {
	t.Helper()
	if got := h.addresses(t); len(got) > 0 {
		t.Errorf("eth0 still has %v", got)
	}
	if left, _ := os.ReadDir(filepath.Dir(journal)); len(left) > 0 {
		t.Errorf("left beside the journal: %v", left)
	}
}

func TestNetupAddsAndNetdownRemoves(t *testing.T) {
	t.Parallel() // most of the time is waiting for answers
	h, ok := newHosts(t, "192.168.1.1/24")
	if !ok {
		return
	}
	journal := filepath.Join(t.TempDir(), "aliases.json")
	r := h.connprof(t, journal, "netup --dev eth0 --cidr 192.168.1.200/24 --ips 20 --journal JOURNAL").exits(t, exitDone)
	says(t, "netup", r.stdout, "added 20 addresses to eth0: 192.168.1.200/24 to 192.168.1.219/24", "labelled eth0:cp0 to eth0:cp19",
		"connprof netdown --journal "+journal+" removes them")
	if r.stderr != "" {
		t.Errorf("stderr: %v", r)
	}
	if got := h.addresses(t); len(got) != 20 || got[0] != "192.168.1.200/24" || got[19] != "192.168.1.219/24" {
		t.Errorf("eth0 has %v", got)
	}
	list := h.connprof(t, journal, "netup --list --journal JOURNAL").exits(t, exitDone)
	says(t, "--list", list.stdout, "192.168.1.200/24  eth0:cp0", "192.168.1.219/24  eth0:cp19")
	if n := strings.Count(list.stdout, "there"); n != 20 {
		t.Errorf("%d addresses are there: %v", n, list)
	}
	says(t, "--list of another interface", h.connprof(t, journal, "netup --list --dev eth1 --journal JOURNAL").exits(t, exitDone).stdout,
		"no aliases")
	h.connprof(t, journal, "netup --dev eth0 --cidr 192.168.1.219/24 --ips 2 --journal JOURNAL").refuses(t, exitFailed,
		"192.168.1.219 is already on eth0 (eth0:cp19)", "choose other addresses")

	says(t, "netdown --dry-run", h.connprof(t, journal, "netdown --dry-run --journal JOURNAL").exits(t, exitDone).stdout,
		"nothing is changed", "20 addresses removed from eth0")
	if got := h.addresses(t); len(got) != 20 {
		t.Errorf("after a dry run eth0 has %v", got)
	}
	says(t, "netdown", h.connprof(t, journal, "netdown --dev eth0 --journal JOURNAL").exits(t, exitDone).stdout,
		"20 addresses removed from eth0: 192.168.1.200/24 to 192.168.1.219/24")
	h.clean(t, journal)
	says(t, "the second netdown", h.connprof(t, journal, "netdown --journal JOURNAL").exits(t, exitDone).stdout, "nothing to remove")
	h.clean(t, journal)
}

func TestNetupNamesWhoHasAnAddress(t *testing.T) {
	t.Parallel()
	h, ok := newHosts(t, "192.168.1.207/24", "192.168.1.211/24")
	if !ok {
		return
	}
	journal := filepath.Join(t.TempDir(), "aliases.json")
	for _, flag := range []string{"", " --dry-run"} {
		h.connprof(t, journal, "netup --dev eth0 --cidr 192.168.1.200/24 --journal JOURNAL"+flag).refuses(t, exitFailed,
			"192.168.1.207 is in use by "+h.owner, "192.168.1.211 is in use by "+h.owner, "nothing was added")
		h.clean(t, journal)
	}
	says(t, "netup --dry-run", h.connprof(t, journal, "netup --dev eth0 --cidr 192.168.1.220/24 --ips 3 --dry-run --journal JOURNAL").
		exits(t, exitDone).stdout, "would add 3 addresses to eth0: 192.168.1.220/24 to 192.168.1.222/24")
	h.clean(t, journal)
}

func TestNetupRefusesBadInputInOneClearLine(t *testing.T) {
	t.Parallel()
	h, ok := newHosts(t)
	if !ok {
		return
	}
	dir := t.TempDir()
	journals := map[string]string{"corrupt": `{"schema":`, "foreign": `{"schema":"other/1"}`, "newer": `{"schema":"connprof.aliases/9"}`}
	for name, content := range journals {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const good = "netup --dev eth0 --cidr 192.168.1.200/24 "
	for _, c := range []struct {
		line string
		code int
		says []string
	}{
		{"netup --cidr 192.168.1.200/24", exitUsage, []string{"--dev", "netup --help"}},
		{"netup --dev eth0", exitUsage, []string{"--cidr", "netup --help"}},
		{"netup --dev eth0 --cidr 192.168.1.200", exitUsage, []string{"--cidr", "prefix length", "192.168.1.200/24"}},
		{"netup --dev eth0 --cidr nonsense/24", exitUsage, []string{"--cidr", `"nonsense/24"`, "prefix length"}},
		{"netup --dev eth0 --cidr 192.168.1.1/30", exitUsage, []string{"20 addresses do not fit", "192.168.1.1/30"}},
		{"netup --dev eth0 --cidr 192.168.1.0/24", exitUsage, []string{"192.168.1.0 is the network address"}},
		{"netup --dev eth0 --cidr 192.168.1.250/24 --ips 6", exitUsage, []string{"192.168.1.255 is the broadcast address"}},
		{good + "--ips 0", exitUsage, []string{"--ips 0", "1 to 254"}},
		{good + "--ips many", exitUsage, []string{"--ips", `"many"`, "whole number"}},
		{good + "--journal=", exitUsage, []string{"--journal", "file name"}},
		{good + "eth0", exitUsage, []string{`"eth0"`, "--help"}},
		{"netup --list --cidr 192.168.1.200/24", exitUsage, []string{"--list", "leave out --cidr"}},
		{"netup --dev eth0/1 --cidr 192.168.1.200/24", exitUsage, []string{"--dev", "no interface can have the name", "eth0/1"}},
		{"netup --dev eth0:1 --cidr 192.168.1.200/24", exitUsage, []string{"label of an alias", "eth0"}},
		{"netdown --dev eth0:1", exitUsage, []string{"label of an alias"}},
		{"netdown everything", exitUsage, []string{`"everything"`, "--help"}},
		{"netup --dev eth9 --cidr 192.168.1.200/24 --journal JOURNAL", exitFailed, []string{"no interface eth9", "eth0, lo"}},
		{"netup --dev wéird@\x1b[31m$% --cidr 192.168.1.200/24 --journal JOURNAL", exitFailed, []string{"no interface", `\x1b[31m`}},
		{"netup --dev lo --cidr 192.168.1.200/24 --journal JOURNAL", exitFailed, []string{"loopback", "leads to a network"}},
		{"netup --dev eth0 --cidr 198.18.0.250/16 --journal JOURNAL", exitFailed, []string{"198.18.1.1 is already on lo"}},
		{good + "--journal " + dir + "/corrupt", exitFailed, []string{dir + "/corrupt is damaged", "good copy"}},
		{good + "--journal " + dir + "/foreign", exitFailed, []string{dir + "/foreign is no journal", "move it away"}},
		{good + "--journal " + dir + "/newer", exitFailed, []string{"another version", "connprof.aliases/9"}},
		{good + "--journal " + dir, exitFailed, []string{dir, "not a regular file"}},
		{good + "--journal /no/such/place/j", exitFailed, []string{"/no/such/place", "no directory", "make it first"}},
		{good + "--journal " + program + "/j", exitFailed, []string{"not a directory"}},
		{good + "--journal /proc/j", exitFailed, []string{"/proc/j"}},
		{"netdown --journal " + dir + "/corrupt", exitFailed, []string{dir + "/corrupt is damaged", "good copy"}},
		{"netdown --journal " + dir + "/foreign", exitFailed, []string{"is no journal", "move it away"}},
		{"netup --list --journal " + dir + "/corrupt", exitFailed, []string{"is damaged"}},
	} {
		t.Run(strings.ToValidUTF8(c.line, "?"), func(t *testing.T) {
			journal := filepath.Join(t.TempDir(), "aliases.json")
			h.connprof(t, journal, c.line).refuses(t, c.code, c.says...)
			h.clean(t, journal)
		})
	}
	for name, content := range journals {
		if now := string(readFile(t, filepath.Join(dir, name))); now != content {
			t.Errorf("the %s journal became %q", name, now)
		}
	}
}

func TestHelpOfNetupAndNetdown(t *testing.T) {
	says(t, "netup --help", connprof(t, "netup", "--help").exits(t, exitDone).stdout, "--dev", "--cidr", "--ips", "--dry-run", "--list",
		"--journal", netcfg.DefaultJournal, "three ARP probes", "DEV:cpN")
	says(t, "netdown --help", connprof(t, "help", "netdown").exits(t, exitDone).stdout, "--dev", "--dry-run", "--journal")
	says(t, "--help", connprof(t, "--help").exits(t, exitDone).stdout, "netup", "netdown")
}

func TestNetupOnAnInterfaceThatIsDown(t *testing.T) {
	t.Parallel()
	h, ok := newHosts(t)
	if !ok {
		return
	}
	inside(t, h.near, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(link)
	})
	journal := filepath.Join(t.TempDir(), "aliases.json")
	h.connprof(t, journal, "netup --dev eth0 --cidr 192.168.1.200/24 --journal JOURNAL").refuses(t, exitFailed, "interface eth0 is down",
		"ip link set eth0 up")
	h.clean(t, journal)
}

func TestNetupWithoutThePrivilegesOrAWritableJournal(t *testing.T) {
	t.Parallel()
	h, ok := newHosts(t)
	if !ok {
		return
	}
	journal := filepath.Join(t.TempDir(), "aliases.json")
	args := []string{"netup", "--dev", "eth0", "--cidr", "192.168.1.200/24", "--ips", "2", "--journal", journal}
	h.runs(t, asNobody(t, args...)).refuses(t, exitFailed, "CAP_NET_ADMIN", "CAP_NET_RAW", "sudo")
	h.runs(t, confined(t, "capability=12", args...)).refuses(t, exitFailed, "CAP_NET_ADMIN (to add", "sudo")
	h.runs(t, confined(t, "capability=13", args...)).refuses(t, exitFailed, "CAP_NET_RAW (to ask", "sudo")
	h.clean(t, journal)

	theirs := t.TempDir() // which root without CAP_DAC_OVERRIDE may not write
	if err := errors.Join(os.Chown(theirs, nobody, nobody), os.Chmod(theirs, 0o755)); err != nil {
		t.Fatal(err)
	}
	args[len(args)-1] = filepath.Join(theirs, "aliases.json")
	h.runs(t, confined(t, "capability=1", args...)).refuses(t, exitFailed, theirs, "not writable", "--journal")
	h.clean(t, args[len(args)-1])

	// Without anything to do, netdown and --list need nothing.
	h.runs(t, asNobody(t, "netdown", "--journal", journal)).exits(t, exitDone)
	h.runs(t, asNobody(t, "netup", "--list", "--journal", "/var/tmp/no-such-journal")).exits(t, exitDone)
}

func TestTwoNetupsAtOnce(t *testing.T) {
	t.Parallel()
	h, ok := newHosts(t)
	if !ok {
		return
	}
	journal := filepath.Join(t.TempDir(), "aliases.json")
	line := "netup --dev eth0 --ips 3 --journal " + journal + " --cidr "
	first := h.begins(t, line+"192.168.1.200/24")
	first.until(t, "the first asks", first.locks)
	first.signal(t, syscall.SIGSTOP) // the second may take longer to begin than the first to end
	if !first.locks() {
		t.Fatal("the first had ended before it was stopped")
	}
	h.connprof(t, journal, line+"192.168.1.210/24").refuses(t, exitFailed, "another connprof is at work", "wait")
	first.signal(t, syscall.SIGCONT)
	first.wait(t).exits(t, exitDone)
	if got := h.addresses(t); !slices.Equal(got, []string{"192.168.1.200/24", "192.168.1.201/24", "192.168.1.202/24"}) {
		t.Errorf("eth0 has %v", got)
	}
}

func TestASignalWhileNetupAsksLeavesNothing(t *testing.T) {
	t.Parallel()
	h, ok := newHosts(t)
	if !ok {
		return
	}
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		journal := filepath.Join(t.TempDir(), "aliases.json")
		c := h.begins(t, "netup --dev eth0 --cidr 192.168.1.200/24 --journal "+journal)
		c.until(t, "it asks", c.locks)
		c.signal(t, s)
		if r := c.wait(t); s != syscall.SIGKILL {
			r.refuses(t, exitFailed, "interrupted", "nothing was added")
		}
		h.clean(t, journal)
	}
}

// locks tells whether a child holds the lock of its journal, without asking for it.
func (c *child) locks() bool {
	b, _ := os.ReadFile("/proc/locks")
	return strings.Contains(string(b), fmt.Sprintf("FLOCK  ADVISORY  WRITE %d ", c.pid()))
}

// begins starts a child on near.
func (h hosts) begins(t *testing.T, line string) *child {
	t.Helper()
	return startBy(t, command(t, strings.Fields(line)...), h.near.Start)
}
