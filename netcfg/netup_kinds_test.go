package netcfg

import (
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
)

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
