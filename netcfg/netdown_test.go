package netcfg

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// killedEnv turns the test binary into a netup that kills itself after that many addresses; its arguments are the
// journal and the first address.
const killedEnv = "CONNPROF_TEST_KILLED_NETUP"

func killedNetupMain() {
	after, err := strconv.Atoi(os.Getenv(killedEnv))
	if err != nil {
		return
	}
	suicide := func(n int) {
		if n == after {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	wanted, err := Consecutive(os.Args[2], 20)
	if err == nil {
		_, err = Up(UpOptions{Device: "eth0", Wanted: wanted, Journal: os.Args[1], afterAdding: suicide})
	}
	fmt.Fprintln(os.Stderr, "netup was not killed:", err)
	os.Exit(1)
}

func TestAKilledNetupIsUndone(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			near, _, ok := newCable(t)
			if !ok {
				return
			}
			n := onHost(t, near)
			child := exec.Command("/proc/self/exe", n.journal, f.first)
			child.Env = append(os.Environ(), killedEnv+"=13")
			child.Stderr = os.Stderr
			if err := near.Start(child); err != nil {
				t.Fatal(err)
			}
			if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Fatalf("the child ended with %v, want it killed", err)
			}
			near.has(t, "eth0", f.nth(17)+f.bits) // by the admin, whose it is
			if got := near.addresses(t, "eth0"); len(got) != 14 {
				t.Fatalf("eth0 has %v after the kill: the test would prove nothing", got)
			}
			says := n.down(t, "")
			for _, say := range []string{"13 addresses removed", "6 addresses not on eth0", "1 address not removed"} {
				if !strings.Contains(says, say) {
					t.Errorf("netdown does not say %q: %s", say, says)
				}
			}
			if got := near.addresses(t, "eth0"); !slices.Equal(got, []string{f.nth(17) + f.bits}) {
				t.Errorf("after netdown eth0 has %v", got)
			}
			if says := n.down(t, ""); says != "" {
				t.Errorf("the second netdown: %s", says)
			}
		})
	}
}

// withAliases is a host with three IPv4 aliases and an IPv6 one on eth0.
func withAliases(t *testing.T) (n netup, far *host, ok bool) {
	t.Helper()
	near, far, ok := newCable(t)
	if ok {
		n = onHost(t, near)
		n.added(t, "eth0", "192.0.2.200/24", 3)
		n.added(t, "eth0", "2001:db8::200/64", 1)
	}
	return n, far, ok
}

// notesWhoAdded tells whether the kernel keeps the protocol of an address (IFA_PROTO, 5.18).
func (h *host) notesWhoAdded(t *testing.T) (notes bool) {
	t.Helper()
	h.do(t, func() error {
		all, err := listAddresses()
		notes = slices.ContainsFunc(all, func(a address) bool { return a.proto == aliasProto })
		return err
	})
	return notes
}

func TestNetdownAfterARename(t *testing.T) {
	t.Parallel()
	n, _, ok := withAliases(t)
	if !ok {
		return
	}
	renamed := "averylongname01"
	first, says, left := "there", []string{"3 addresses removed from " + renamed}, []string(nil)
	if !n.notesWhoAdded(t) {
		// The kernel drops the first label, and nothing else tells that address from others.
		first, left = changed, []string{"192.0.2.200/24"}
		says = []string{"2 addresses removed from " + renamed, "1 address not removed, as changed or added anew by somebody else since: 192.0.2.200/24"}
	}
	n.do(t, func() error { return n.rename("eth0", renamed) })
	if got := n.states(t); !slices.Equal(got, []string{renamed + " 192.0.2.200/24 eth0:cp0 " + first, renamed + " 192.0.2.201/24 eth0:cp1 there",
		renamed + " 192.0.2.202/24 eth0:cp2 there", renamed + " 2001:db8::200/64  there"}) {
		t.Errorf("listed after the rename: %v", got)
	}
	got := n.down(t, renamed)
	for _, say := range says {
		if !strings.Contains(got, say) {
			t.Errorf("netdown after the rename does not say %q: %s", say, got)
		}
	}
	if got := n.addresses(t, renamed); !slices.Equal(got, left) {
		t.Errorf("%s has %v, want %v", renamed, got, left)
	}
}

// After a restart the same addresses, even with the same labels, are somebody else's.
func TestNetdownAfterARestart(t *testing.T) {
	t.Parallel()
	n, _, ok := withAliases(t)
	if !ok {
		return
	}
	writeAs(t, n.journal, func(e *entry) { e.Boot = "another" })
	before := n.addresses(t, "eth0")
	if says := n.down(t, "eth0"); strings.Count(says, "went with a restart of the host") != 2 {
		t.Errorf("netdown after a restart: %s", says)
	}
	if got := n.addresses(t, "eth0"); !slices.Equal(got, before) || len(got) != 4 {
		t.Errorf("after it eth0 has %v, want %v", got, before)
	}
}

// Those of another namespace stay in the journal, and those of an interface that has gone do not.
func TestNetdownElsewhereAndWithoutTheInterface(t *testing.T) {
	t.Parallel()
	n, far, ok := withAliases(t)
	if !ok {
		return
	}
	other := netup{host: far, journal: n.journal}
	if says := other.down(t, ""); strings.Count(says, "in another network namespace") != 2 || len(n.states(t)) != 4 {
		t.Errorf("netdown elsewhere: %s; still listed: %v", says, n.states(t))
	}
	n.do(t, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	})
	if says := n.down(t, "eth0"); strings.Count(says, "went with the interface") != 2 {
		t.Errorf("netdown after the interface has gone: %s", says)
	}
	if says := n.down(t, ""); says != "" {
		t.Errorf("the second netdown: %s", says)
	}
}

// rename takes the interface down for it, which kernels before 6.2 demand, and keeps its IPv6 addresses meanwhile.
func (h *host) rename(from, to string) error {
	link, err := netlink.LinkByName(from)
	if err != nil {
		return err
	}
	if err := setSysctl("net.ipv6.conf."+from+".keep_addr_on_down", "1"); err != nil {
		return err
	}
	if err := errors.Join(netlink.LinkSetDown(link), netlink.LinkSetName(link, to), netlink.LinkSetUp(link)); err != nil {
		return err
	}
	return untilRunning(h, to)
}

// writeAs changes every entry of a journal.
func writeAs(t *testing.T, path string, change func(*entry)) {
	t.Helper()
	j, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for i := range j.Content.Entries {
		change(&j.Content.Entries[i])
	}
	if err := j.Write(); err != nil {
		t.Fatal(err)
	}
}

func TestTheAdminsAddressesOfTheSameSubnetStay(t *testing.T) {
	t.Parallel()
	near, _, ok := newCable(t)
	if !ok {
		return
	}
	n := onHost(t, near)
	n.added(t, "eth0", "192.0.2.200/24", 3)
	near.has(t, "eth0", "192.0.2.50/24", "192.0.2.51/24") // secondary to the first alias
	const promote = "/proc/sys/net/ipv4/conf/eth0/promote_secondaries"
	var before, after []byte
	near.do(t, func() (err error) { before, err = os.ReadFile(promote); return err })
	n.down(t, "")
	if got := near.addresses(t, "eth0"); !slices.Equal(got, []string{"192.0.2.50/24", "192.0.2.51/24"}) {
		t.Errorf("after netdown eth0 has %v", got)
	}
	near.do(t, func() (err error) { after, err = os.ReadFile(promote); return err })
	if string(before) != "0\n" || string(after) != "0\n" {
		t.Errorf("promote_secondaries was %q and is %q; want 0 both times", before, after)
	}
}

func TestAnAddressThatTheAdminAddedAnewStays(t *testing.T) {
	t.Parallel()
	near, _, ok := newCable(t)
	if !ok {
		return
	}
	n := onHost(t, near)
	near.has(t, "eth0", "192.0.2.1/24")
	for _, f := range families {
		n.added(t, "eth0", f.first, 3)
		near.do(t, func() error { return delByHand("eth0", f.nth(1)+f.bits) })
		near.has(t, "eth0", f.nth(1)+f.bits)
		if says := n.down(t, ""); !strings.Contains(says, "1 address not removed") {
			t.Errorf("netdown says %s", says)
		}
		if got := near.addresses(t, "eth0"); !slices.Contains(got, f.nth(1)+f.bits) || slices.Contains(got, f.nth(0)+f.bits) {
			t.Errorf("after netdown eth0 has %v", got)
		}
	}
}
