package netcfg

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newPrivate(t *testing.T, c Config) *Private {
	t.Helper()
	p, err := NewPrivate(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func localAddresses(t *testing.T) map[string]bool {
	t.Helper()
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, a := range list {
		found[a.(*net.IPNet).IP.String()] = true
	}
	return found
}

func TestPrivateNetworkHasTheAddressesAskedFor(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		p := newPrivate(t, Config{ClientAddresses: 20, IPv6: ipv6, Sockets: 1000})
		if len(p.Clients) != 20 {
			t.Fatalf("%d client addresses, want 20", len(p.Clients))
		}
		var inside map[string]bool
		if err := p.Do(func() error { inside = localAddresses(t); return nil }); err != nil {
			t.Fatal(err)
		}
		distinct := map[netip.Addr]bool{p.Server: true}
		for _, a := range append([]netip.Addr{p.Server}, p.Clients...) {
			distinct[a] = true
			if !inside[a.String()] {
				t.Errorf("address %s is not in the namespace, which has %v", a, inside)
			}
			if a.Is6() != ipv6 {
				t.Errorf("address %s with IPv6 %v", a, ipv6)
			}
		}
		if len(distinct) != 21 {
			t.Errorf("%d distinct addresses, want 21", len(distinct))
		}
	}
}

func TestHostKeepsItsOwnAddressesAndSysctls(t *testing.T) {
	names := []string{"net/ipv4/tcp_child_ehash_entries", "net/core/somaxconn", "net/ipv4/tcp_max_syn_backlog",
		"net/ipv4/ip_local_port_range"}
	read := func() (text string) {
		for _, name := range names {
			b, _ := os.ReadFile("/proc/sys/" + name) // an older kernel lacks the first
			text += name + "=" + string(b)
		}
		return text + fmt.Sprint(localAddresses(t))
	}
	before := read()
	p := newPrivate(t, Config{ClientAddresses: 3, Sockets: 1 << 20})
	if now := read(); now != before {
		t.Errorf("the host's settings became\n%s\nfrom\n%s", now, before)
	}
	var inside string
	if err := p.Do(func() error {
		b, err := os.ReadFile("/proc/sys/net/core/somaxconn")
		inside = strings.TrimSpace(string(b))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if inside != fmt.Sprint(Backlog) {
		t.Errorf("somaxconn is %s in the namespace, want %d", inside, Backlog)
	}
}

func TestEstablishedHashIsSizedForTheSockets(t *testing.T) {
	const name = "/proc/sys/net/ipv4/tcp_ehash_entries"
	if _, err := os.Stat(name); err != nil {
		return // before 6.1 all namespaces share one hash, and there is nothing to size
	}
	p := newPrivate(t, Config{ClientAddresses: 1, Sockets: 100_000})
	var size string
	if err := p.Do(func() error {
		b, err := os.ReadFile(name)
		size = strings.TrimSpace(string(b))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if size != "131072" { // a namespace that shared its parent's hash would show a negative number
		t.Errorf("established hash of %s buckets for 100,000 sockets, want 131072", size)
	}
}

func TestHashEntriesIsAPowerOfTwoWithinBounds(t *testing.T) {
	for sockets, want := range map[int]string{0: "1024", 1024: "1024", 1025: "2048", 40_000: "65536",
		2_000_000: "2097152", 1 << 30: "16777216"} {
		if got := hashEntries(sockets); got != want {
			t.Errorf("hashEntries(%d) = %s, want %s", sockets, got, want)
		}
	}
}

// namespaceInUse tells whether any thread on the host lives in the namespace.
func namespaceInUse(t *testing.T, inode uint32) bool {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("net:[%d]", inode)
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && to == want {
			return true
		}
	}
	return false
}

func TestNothingIsLeftInTheNamespaceAfterClose(t *testing.T) {
	p := newPrivate(t, Config{ClientAddresses: 1, Sockets: 10})
	child := exec.Command("/proc/self/exe", "-test.run=^$", "-test.timeout=1h")
	child.Env = append(os.Environ(), sleeperEnv+"=1")
	if err := p.Start(child); err != nil {
		t.Fatal(err)
	}
	if !namespaceInUse(t, p.Inode()) {
		t.Fatal("no thread lives in the namespace while it is open: the test would prove nothing")
	}
	p.Close()
	// The end of the namespace's thread kills the child, which would sleep for an hour.
	if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the child ended with %v, want it killed", err)
	}
	for end := time.Now().Add(time.Minute); namespaceInUse(t, p.Inode()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a thread still lives in the namespace a minute after it was closed")
		}
	}
	if err := p.Do(func() error { return nil }); err == nil {
		t.Error("Do works on a closed namespace")
	}
}

func TestProcessesStartInTheNamespace(t *testing.T) {
	p := newPrivate(t, Config{ClientAddresses: 1, Sockets: 10})
	child := exec.Command("/proc/self/exe", "-test.run=^$")
	child.Env = append(os.Environ(), sleeperEnv+"=1")
	if err := p.Start(child); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/net", child.Process.Pid), &st); err != nil {
		t.Fatal(err)
	}
	if uint32(st.Ino) != p.Inode() {
		t.Errorf("the child is in namespace %d, want %d", st.Ino, p.Inode())
	}
	var host unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &host); err != nil {
		t.Fatal(err)
	}
	if uint32(host.Ino) == p.Inode() {
		t.Error("the test process itself was moved into the namespace")
	}
}

func TestBadConfigIsRefused(t *testing.T) {
	for _, n := range []int{-1, 0, MaxClientAddresses + 1} {
		if _, err := NewPrivate(Config{ClientAddresses: n}); err == nil {
			t.Errorf("%d client addresses were accepted", n)
		}
	}
}

// sleeperEnv turns the test binary into a process that does nothing.
const sleeperEnv = "CONNPROF_TEST_SLEEPER"

func TestMain(m *testing.M) {
	killedNetupMain()
	if os.Getenv(sleeperEnv) != "" {
		time.Sleep(time.Hour)
		return
	}
	os.Exit(m.Run())
}
