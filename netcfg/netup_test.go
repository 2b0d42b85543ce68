package netcfg

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/kernel"
)

// netup adds aliases on a host's interface, whose journal is in a directory of the test's.
type netup struct {
	*host
	journal     string
	afterAdding func(n int) // see UpOptions
}

func onHost(t *testing.T, h *host) netup {
	return netup{host: h, journal: filepath.Join(t.TempDir(), "aliases.json")}
}

func (n netup) up(t *testing.T, device, cidr string, count int) (u Upped, err error) {
	t.Helper()
	plan, err := PlanAliases(cidr, count)
	if err != nil {
		t.Fatal(err)
	}
	_ = n.Do(func() error {
		u, err = Up(UpOptions{Device: device, Plan: plan, Journal: n.journal, afterAdding: n.afterAdding})
		return nil
	})
	return u, err
}

func (n netup) added(t *testing.T, device, cidr string, count int) Upped {
	t.Helper()
	u, err := n.up(t, device, cidr, count)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (n netup) down(t *testing.T, device string) (text string) {
	t.Helper()
	n.do(t, func() error {
		list, err := Down(DownOptions{Device: device, Journal: n.journal})
		for _, d := range list {
			text += d.String() + "\n"
		}
		return err
	})
	return text
}

func (n netup) states(t *testing.T) (states []string) {
	t.Helper()
	n.do(t, func() error {
		list, err := List(n.journal, "")
		for _, l := range list {
			states = append(states, l.Device+" "+l.Address.String()+" "+l.Label+" "+l.State)
		}
		return err
	})
	return states
}

// refused checks that nothing was added, and that nothing is left of the journal.
func (n netup) refused(t *testing.T, err error, device string, before []string, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("it was not refused")
	}
	for _, say := range says {
		if !strings.Contains(err.Error(), say) {
			t.Errorf("the error does not say %q: %v", say, err)
		}
	}
	if now := n.addresses(t, device); !slices.Equal(now, before) {
		t.Errorf("%s has %v, and had %v", device, now, before)
	}
	if left, _ := os.ReadDir(filepath.Dir(n.journal)); len(left) > 0 {
		t.Errorf("left beside the journal: %v", left)
	}
}

// families are the same addresses twice.
var families = []struct {
	name, first string // of twenty
	nth         func(n int) string
	bits        string
}{
	{"IPv4", "192.0.2.200/24", func(n int) string { return fmt.Sprintf("192.0.2.%d", 200+n) }, "/24"},
	{"IPv6", "2001:db8::200/64", func(n int) string { return fmt.Sprintf("2001:db8::%x", 0x200+n) }, "/64"},
}

func TestTwentyAliasesComeAndGo(t *testing.T) {
	t.Parallel()
	near, _, ok := newCable(t)
	if !ok {
		return
	}
	n := onHost(t, near)
	near.has(t, "eth0", "192.0.2.1/24", "2001:db8::1/64")
	before := near.addresses(t, "eth0")
	for _, f := range families {
		u := n.added(t, "eth0", f.first, 20)
		var want []string
		for i := range 20 {
			want = append(want, f.nth(i)+f.bits)
		}
		var got []string
		for _, a := range u.Aliases {
			got = append(got, a.Address.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("added %v, want %v", got, want)
		}
	}
	if got := near.addresses(t, "eth0"); len(got) != len(before)+40 {
		t.Errorf("eth0 has %v", got)
	}
	states := n.states(t)
	if len(states) != 40 || states[19] != "eth0 192.0.2.219/24 eth0:cp19 there" || states[20] != "eth0 2001:db8::200/64  there" {
		t.Errorf("listed: %v", states)
	}
	near.do(t, func() error { return checkMarks("192.0.2.200", "2001:db8::200") })
	says := n.down(t, "")
	if !strings.Contains(says, "20 addresses removed from eth0: 192.0.2.200/24 to 192.0.2.219/24") {
		t.Errorf("netdown says %s", says)
	}
	if got := near.addresses(t, "eth0"); !slices.Equal(got, before) {
		t.Errorf("after netdown eth0 has %v, want %v", got, before)
	}
	if says := n.down(t, ""); says != "" {
		t.Errorf("the second netdown: %s", says)
	}
	if left, _ := os.ReadDir(filepath.Dir(n.journal)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// checkMarks looks at what tells aliases from other addresses.
func checkMarks(v4, v6 string) error {
	all, err := listAddresses()
	if err != nil {
		return err
	}
	for _, a := range all {
		switch a.prefix.Addr().String() {
		case v4:
			if a.label != "eth0:cp0" || a.flags&unix.IFA_F_SECONDARY == 0 {
				err = errors.Join(err, fmt.Errorf("%s is not as expected: %+v", v4, a))
			}
		case v6: // no DAD, and the host does not take it for connections of its own
			if a.flags&unix.IFA_F_TENTATIVE != 0 || a.flags&unix.IFA_F_DEPRECATED == 0 || a.flags&unix.IFA_F_PERMANENT == 0 {
				err = errors.Join(err, fmt.Errorf("%s is not as expected: %+v", v6, a))
			}
		}
	}
	return err
}

func TestAnAddressInUseIsNamedWithItsOwnersMAC(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			near, far, ok := newCable(t)
			if !ok {
				return
			}
			far.has(t, "eth0", f.nth(0)+f.bits, f.nth(19)+f.bits)
			n := onHost(t, near)
			_, err := n.up(t, "eth0", f.first, 20)
			n.refused(t, err, "eth0", nil, f.nth(0)+" is in use by "+far.mac.String(), f.nth(19)+" is in use by "+far.mac.String(),
				"nothing was added")
			if strings.Contains(err.Error(), f.nth(1)+" ") {
				t.Errorf("addresses that nobody has are named: %v", err)
			}
		})
	}
}

func TestEveryAddressIsAskedForThreeTimesAllAtOnce(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			near, far, ok := newCable(t)
			if !ok {
				return
			}
			r := far.record(t, "eth0")
			n := onHost(t, near)
			n.added(t, "eth0", f.first, 20)
			var want, got [][]byte
			first := netip.MustParsePrefix(f.first).Addr()
			p := protocolOf(first)
			for range probeRounds {
				for a, i := first, 0; i < 20; a, i = a.Next(), i+1 {
					want = append(want, framed(near.mac, p, p.question, a))
				}
			}
			for a, i := first, 0; i < 20; a, i = a.Next(), i+1 {
				want = append(want, framed(near.mac, p, p.announcement, a))
			}
			for _, frame := range r.packets(t, p.etherType) {
				if c, ok := p.heard(frame[14:], near.mac); ok && slices.ContainsFunc(want, func(w []byte) bool { return bytes.Equal(w, frame) }) ||
					ok && c.address.Compare(first) >= 0 && c.address.Compare(netip.MustParseAddr(f.nth(19))) <= 0 {
					got = append(got, frame)
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%d packets came over the wire, want %d: three rounds of questions, one of announcements\n%x\n%x",
					len(got), len(want), got, want)
			}
		})
	}
}

func framed(mac net.HardwareAddr, p protocol, pack func(net.HardwareAddr, netip.Addr) ([]byte, net.HardwareAddr), a netip.Addr) []byte {
	packet, to := pack(mac, a)
	frame := append(slices.Clone(to), mac...)
	return append(append(frame, byte(p.etherType>>8), byte(p.etherType)), packet...)
}

func TestSomebodyElseWhoAsksForAnAddressIsInTheWay(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			near, far, ok := newCable(t)
			if !ok {
				return
			}
			target, ended, asked := netip.MustParseAddr(f.nth(7)), make(chan struct{}), make(chan error, 1)
			go func() { asked <- far.Do(func() error { return askUntil(ended, far.mac, target) }) }()
			n := onHost(t, near)
			_, err := n.up(t, "eth0", f.first, 20)
			close(ended)
			if err := <-asked; err != nil {
				t.Fatal(err)
			}
			n.refused(t, err, "eth0", nil, f.nth(7)+" is about to be taken by "+far.mac.String())
		})
	}
}

// askUntil asks for an address again and again.
func askUntil(ended <-chan struct{}, mac net.HardwareAddr, a netip.Addr) error {
	d, err := findDevice("eth0")
	if err != nil {
		return err
	}
	w, err := openWire(d, protocolOf(a))
	if err != nil {
		return err
	}
	defer w.close()
	for {
		select {
		case <-ended:
			return nil
		case <-time.After(100 * time.Millisecond):
			if err := w.send(w.question(mac, a)); err != nil {
				return err
			}
		}
	}
}

func TestAddressesThatThisHostHasOrKnowsAreRefused(t *testing.T) {
	t.Parallel()
	near, _, ok := newCable(t)
	if !ok {
		return
	}
	near.has(t, "eth0", "192.0.2.10/26", "2001:db8::10/64")
	near.do(t, func() error { return route("192.0.2.1", "2001:db8::1") })
	before := near.addresses(t, "eth0")
	n := onHost(t, near)
	for _, c := range []struct{ cidr, says string }{
		{"192.0.2.5/24", "192.0.2.10 is already on eth0"},
		{"192.0.2.1/24", "192.0.2.1 is a gateway"},
		{"192.0.2.60/24", "192.0.2.63 is a broadcast address"}, // of the address that is there
		{"2001:db8::1/64", "2001:db8::1 is a gateway, 2001:db8::10 is already on eth0"},
		{"198.18.1.1/24", "198.18.1.1 is already on lo (lo:1)"},
	} {
		_, err := n.up(t, "eth0", c.cidr, 20)
		n.refused(t, err, "eth0", before, c.says, "choose other addresses")
	}
}

func route(gateways ...string) error {
	for _, gw := range gateways {
		if err := netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gw)}); err != nil {
			return err
		}
	}
	return nil
}

func TestAFailureInTheMiddleTakesBackWhatWasAdded(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			near, far, ok := newCable(t)
			if !ok {
				return
			}
			n := onHost(t, near)
			r := far.record(t, "eth0")
			n.afterAdding = func(i int) {
				if i == 12 { // the admin, in between
					if err := addByHand("eth0", f.nth(15)+f.bits); err != nil {
						t.Error(err)
					}
				}
			}
			_, err := n.up(t, "eth0", f.first, 20)
			n.refused(t, err, "eth0", []string{f.nth(15) + f.bits}, "add "+f.nth(15)+f.bits+" to eth0: file exists",
				"somebody has added it meanwhile", "the 15 addresses already added were taken back")
			if len(r.packets(t, unix.ETH_P_ARP)) > 60 && f.name == "IPv4" {
				t.Error("addresses were announced before all were there")
			}
		})
	}
}

func delByHand(device, cidr string) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(cidr)
	if err != nil {
		return err
	}
	return netlink.AddrDel(link, a)
}

func TestAnInterfaceThatVanishesInTheMiddle(t *testing.T) {
	t.Parallel()
	near, _, ok := newCable(t)
	if !ok {
		return
	}
	n := onHost(t, near)
	n.afterAdding = func(i int) {
		if i == 5 {
			link, err := netlink.LinkByName("eth0")
			if err == nil {
				err = netlink.LinkDel(link)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	_, err := n.up(t, "eth0", families[0].first, 20)
	n.refused(t, err, "lo", near.addresses(t, "lo"), "add 192.0.2.205/24 to eth0: no such device", "vanished meanwhile")
}

func TestAnInterruptionLeavesNothing(t *testing.T) {
	t.Parallel()
	near, _, ok := newCable(t)
	if !ok {
		return
	}
	plan, err := PlanAliases("192.0.2.200/24", 20)
	if err != nil {
		t.Fatal(err)
	}
	n := onHost(t, near)
	for says, when := range map[string]int{"interrupted; nothing was added": 0,
		"interrupted; the 7 addresses already added were taken back": 7} {
		stop := make(chan struct{})
		if when == 0 {
			close(stop)
		}
		at := func(i int) {
			if i == when {
				close(stop)
			}
		}
		var err error
		_ = near.Do(func() error {
			_, err = Up(UpOptions{Device: "eth0", Plan: plan, Journal: n.journal, Stop: stop, afterAdding: at})
			return nil
		})
		n.refused(t, err, "eth0", nil, says)
	}
}

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
	plan, err := PlanAliases(os.Args[2], 20)
	if err == nil {
		_, err = Up(UpOptions{Device: "eth0", Plan: plan, Journal: os.Args[1], afterAdding: suicide})
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
	defer j.close()
	for i := range j.Entries {
		change(&j.Entries[i])
	}
	if err := j.write(); err != nil {
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

func TestInterfacesThatCannotBeAskedAreRefused(t *testing.T) {
	t.Parallel()
	near, far, ok := newCable(t)
	if !ok {
		return
	}
	n := onHost(t, near)
	refused := func(device string, says ...string) {
		t.Helper()
		_, err := n.up(t, device, "192.0.2.200/24", 3)
		n.refused(t, err, "eth0", nil, says...)
	}
	refused("lo", "interface lo is the loopback interface", "give an interface that leads to a network")
	refused("eth9", "there is no interface eth9 here", "eth0, lo")
	refused("odd@\x1bname", `"odd@\x1bname"`)
	far.do(t, func() error { return setDown("eth0") })
	refused("eth0", "eth0 is up but has no carrier")
	near.do(t, func() error { return setDown("eth0") })
	refused("eth0", "interface eth0 is down; bring it up with ip link set eth0 up")
	near.do(t, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetARPOff(link)
	})
	refused("eth0", "NOARP", "ip link set eth0 arp on")
}

func TestIPv6ThatIsSwitchedOffIsNamed(t *testing.T) {
	t.Parallel()
	near, _, ok := newCable(t)
	if !ok {
		return
	}
	near.do(t, func() error { return setSysctl("net.ipv6.conf.eth0.disable_ipv6", "1") })
	n := onHost(t, near)
	_, err := n.up(t, "eth0", "2001:db8::200/64", 3)
	n.refused(t, err, "eth0", nil, "IPv6 is switched off on interface eth0", "disable_ipv6=0")
}

func setDown(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetDown(link)
}

// kinds are interfaces on top of both hosts' eth0, and the option that a kernel needs for them.
var kinds = []struct {
	name, option string
	make         func(lower int) netlink.Link
	takesPort    bool // eth0 becomes its port
}{
	{"bridge", "CONFIG_BRIDGE", func(int) netlink.Link { return &netlink.Bridge{LinkAttrs: top(0)} }, true},
	{"bond", "CONFIG_BONDING", func(int) netlink.Link { return netlink.NewLinkBond(top(0)) }, true},
	{"vlan", "CONFIG_VLAN_8021Q", func(lower int) netlink.Link { return &netlink.Vlan{LinkAttrs: top(lower), VlanId: 5} }, false},
	{"macvlan", "CONFIG_MACVLAN", func(lower int) netlink.Link {
		return &netlink.Macvlan{LinkAttrs: top(lower), Mode: netlink.MACVLAN_MODE_BRIDGE}
	}, false},
}

func top(lower int) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name, a.ParentIndex = "top0.5$@é", lower // odd, and legal
	return a
}

func TestAllKindsOfEthernetInterfacesWork(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			near, far, ok := newCable(t)
			if !ok {
				return
			}
			for _, h := range []*host{near, far} {
				var err error
				_ = h.Do(func() error { err = stack(k.make, k.takesPort); return nil })
				if errors.Is(err, unix.EOPNOTSUPP) {
					if value, known := kernel.ConfigOption(k.option); known && value == "y" {
						t.Errorf("the kernel has %s and makes none: %v", k.option, err)
					}
					t.Logf("this kernel has no %s interfaces (%s): %v", k.name, k.option, err)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			// eth0 first: what is on top has no carrier that stays without it.
			name := top(0).Name
			for _, device := range []string{"eth0", name} {
				for _, h := range []*host{near, far} {
					h.do(t, func() error { return untilRunning(h, device) })
				}
			}
			n := onHost(t, near)
			// Else eth0 answers for addresses on top of it as well, with its own MAC.
			far.do(t, func() error { return setSysctl("net.ipv4.conf.all.arp_ignore", "1") })
			far.has(t, name, "192.0.2.203/24", "2001:db8::203/64")
			for _, f := range families {
				_, err := n.up(t, name, f.first, 20)
				n.refused(t, err, name, nil, f.nth(3)+" is in use by "+far.mac.String())
			}
			u := n.added(t, name, "192.0.2.210/24", 3)
			if l := u.Aliases[0].Label; l != "top0.5$@é:cp0" {
				t.Errorf("label %q", l)
			}
			if k.takesPort {
				_, err := n.up(t, "eth0", "192.0.2.230/24", 3)
				if err == nil || !strings.Contains(err.Error(), "interface eth0 is a port of the "+k.name+" "+name) {
					t.Errorf("an alias on a port: %v", err)
				}
			}
			n.down(t, name)
			if got := near.addresses(t, name); len(got) != 0 {
				t.Errorf("after netdown %s has %v", name, got)
			}
		})
	}
}

// stack makes an interface on top of eth0.
func stack(make func(lower int) netlink.Link, takesPort bool) error {
	lower, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	link := make(lower.Attrs().Index)
	if err := netlink.LinkAdd(link); err != nil {
		return err
	}
	if takesPort {
		// A bond takes only interfaces that are down.
		if err := errors.Join(netlink.LinkSetDown(lower), netlink.LinkSetMaster(lower, link), netlink.LinkSetUp(lower)); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(link)
}

func TestADryRunAsksAndAddsNothing(t *testing.T) {
	t.Parallel()
	near, far, ok := newCable(t)
	if !ok {
		return
	}
	n := onHost(t, near)
	dry := func() (u Upped, err error) {
		plan, _ := PlanAliases("192.0.2.200/24", 20)
		_ = near.Do(func() error {
			u, err = Up(UpOptions{Device: "eth0", Plan: plan, Journal: n.journal, DryRun: true})
			return nil
		})
		return u, err
	}
	u, err := dry()
	if err != nil || u.String() != "20 addresses to eth0: 192.0.2.200/24 to 192.0.2.219/24, labelled eth0:cp0 to eth0:cp19" {
		t.Errorf("%q, %v", u, err)
	}
	far.has(t, "eth0", "192.0.2.205/24")
	_, err = dry()
	n.refused(t, err, "eth0", nil, "192.0.2.205 is in use by "+far.mac.String())

	n.added(t, "eth0", "192.0.2.210/24", 2)
	near.do(t, func() error {
		list, err := Down(DownOptions{Journal: n.journal, DryRun: true})
		if len(list) != 1 || len(list[0].Removed) != 2 {
			t.Errorf("netdown --dry-run: %v", list)
		}
		return err
	})
	if got := near.addresses(t, "eth0"); len(got) != 2 {
		t.Errorf("after the dry run of netdown eth0 has %v", got)
	}
}

func TestSeveralInterfacesShareOneJournal(t *testing.T) {
	t.Parallel()
	near, _, ok := newCable(t)
	if !ok {
		return
	}
	near.do(t, func() error {
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth1"}, PeerName: "eth2"}
		return errors.Join(netlink.LinkAdd(pair), up("eth1"), up("eth2"))
	})
	near.do(t, func() error { return untilRunning(&host{}, "eth1") })
	n := onHost(t, near)
	n.added(t, "eth0", "192.0.2.200/24", 2)
	n.added(t, "eth1", "198.51.100.200/24", 2)
	n.added(t, "eth0", "192.0.2.210/24", 2)
	if got := n.states(t); len(got) != 6 || got[4] != "eth0 192.0.2.210/24 eth0:cp2 there" {
		t.Errorf("listed: %v", got)
	}
	if says := n.down(t, "eth9"); says != "" {
		t.Errorf("netdown of another interface: %s", says)
	}
	n.down(t, "eth0")
	if left := n.states(t); !slices.Equal(left, []string{"eth1 198.51.100.200/24 eth1:cp0 there", "eth1 198.51.100.201/24 eth1:cp1 there"}) {
		t.Errorf("left: %v", left)
	}
	n.down(t, "")
	if got := append(near.addresses(t, "eth0"), near.addresses(t, "eth1")...); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}
