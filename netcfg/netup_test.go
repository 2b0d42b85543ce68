package netcfg

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
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
	wanted, err := Consecutive(cidr, count)
	if err != nil {
		t.Fatal(err)
	}
	_ = n.Do(func() error {
		u, err = Up(UpOptions{Device: device, Wanted: wanted, Journal: n.journal, afterAdding: n.afterAdding})
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
					want = append(want, near.wireFrame(t, p.etherType, p.question, a))
				}
			}
			for a, i := first, 0; i < 20; a, i = a.Next(), i+1 {
				want = append(want, near.wireFrame(t, p.etherType, p.announcement, a))
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

// wireFrame is what a packet about an address looks like on the wire.
func (h *host) wireFrame(t *testing.T, etherType uint16, about func(net.HardwareAddr, netip.Addr) (frame, error), a netip.Addr) []byte {
	t.Helper()
	f, err := about(h.mac, a)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(f.to, h.mac, []byte{byte(etherType >> 8), byte(etherType)}, f.packet)
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
			go func() { asked <- far.Do(func() error { return askUntil(ended, target) }) }()
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
func askUntil(ended <-chan struct{}, a netip.Addr) error {
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
			if err := w.send(w.question, a); err != nil {
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
	wanted, err := Consecutive("192.0.2.200/24", 20)
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
			_, err = Up(UpOptions{Device: "eth0", Wanted: wanted, Journal: n.journal, Stop: stop, afterAdding: at})
			return nil
		})
		n.refused(t, err, "eth0", nil, says)
	}
}

func TestADryRunAsksAndAddsNothing(t *testing.T) {
	t.Parallel()
	near, far, ok := newCable(t)
	if !ok {
		return
	}
	n := onHost(t, near)
	dry := func() (u Upped, err error) {
		wanted, _ := Consecutive("192.0.2.200/24", 20)
		_ = near.Do(func() error {
			u, err = Up(UpOptions{Device: "eth0", Wanted: wanted, Journal: n.journal, DryRun: true})
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
