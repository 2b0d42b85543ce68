package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/netcfg"
)

// linkKinds are the interfaces that netup works on, each with the cables below it and what far has at their other end.
var linkKinds = []struct {
	name, option string
	cables       []string
	near, far    func() error // what each host makes on top of its ends
	dev, farDev  string
	label        string // of near's first alias
}{
	{name: "veth", option: "CONFIG_VETH", cables: []string{"eth0"}, near: nothing, far: nothing,
		dev: "eth0", farDev: "eth0", label: "eth0:cp0"},
	// Its name leaves no room for a label, which has 15 bytes as the name itself.
	{name: "vlan", option: "CONFIG_VLAN_8021Q", cables: []string{"enp0s31f6"}, near: vlan("enp0s31f6", 4094),
		far: vlan("enp0s31f6", 4094), dev: "enp0s31f6.4094", farDev: "enp0s31f6.4094", label: "enp0s31f6.4:cp0"},
	// far is the switch that both of its ports lead to: what near sends comes back by its backup port.
	{name: "bond", option: "CONFIG_BONDING", cables: []string{"eth0", "eth1"}, near: activeBackup("bond0", "eth0", "eth1"),
		far: bridge("br0", "eth0", "eth1"), dev: "bond0", farDev: "br0", label: "bond0:cp0"},
	{name: "bridge", option: "CONFIG_BRIDGE", cables: []string{"eth0"}, near: bridge("br0", "eth0"), far: nothing,
		dev: "br0", farDev: "eth0", label: "br0:cp0"},
}

func nothing() error { return nil }

func vlan(lower string, id int) func() error {
	return func() error {
		link, err := netlink.LinkByName(lower)
		if err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex = fmt.Sprintf("%s.%d", lower, id), link.Attrs().Index
		return added(&netlink.Vlan{LinkAttrs: attrs, VlanId: id})
	}
}

func bridge(name string, ports ...string) func() error {
	return func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		return added(&netlink.Bridge{LinkAttrs: attrs}, ports...)
	}
}

func activeBackup(name string, ports ...string) func() error {
	return func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		bond := netlink.NewLinkBond(attrs)
		bond.Mode, bond.Miimon = netlink.BOND_MODE_ACTIVE_BACKUP, 50
		return added(bond, ports...)
	}
}

// added makes an interface with its ports, and sets it up.
func added(link netlink.Link, ports ...string) error {
	if err := netlink.LinkAdd(link); err != nil {
		return err
	}
	for _, name := range ports {
		port, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		// A bond takes only interfaces that are down.
		if err := errors.Join(netlink.LinkSetDown(port), netlink.LinkSetMaster(port, link), netlink.LinkSetUp(port)); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(link)
}

// networks are the same network twice: where near and far are, and what near is to have as well.
var networks = []struct {
	name           string
	admins, taken  string
	occupied, free string // the first of twenty
	peer, last     string
}{
	{"IPv4", "192.168.1.1/24", "192.168.1.207/24", "192.168.1.200/24", "192.168.1.220/24", "192.168.1.207", "192.168.1.239"},
	{"IPv6", "2001:db8::1/64", "2001:db8::207/64", "2001:db8::200/64", "2001:db8::220/64", "2001:db8::207", "2001:db8::233"},
}

func TestNetupAndNetdownOnEveryKindOfInterface(t *testing.T) {
	t.Parallel()
	for _, k := range linkKinds {
		for _, n := range networks {
			t.Run(k.name+"/"+n.name, func(t *testing.T) {
				t.Parallel()
				h := unconnected(t)
				if !offered(t, "CONFIG_VETH", h.connect(t, k.cables...)) || !offered(t, k.option, h.near.Do(k.near)) ||
					!offered(t, k.option, h.far.Do(k.far)) {
					return
				}
				h.carries(t, k.cables)
				h.ready(t, k.dev, k.farDev)
				inside(t, h.near, func() error { return addAddresses(k.dev, n.admins) })
				inside(t, h.far, func() error { return addAddresses(k.farDev, n.taken) })
				journal := filepath.Join(t.TempDir(), "aliases.json")
				netup := "netup --dev " + k.dev + " --ips 20 --journal JOURNAL --cidr "

				h.connprof(t, journal, netup+n.occupied).refuses(t, exitFailed, n.peer+" is in use by "+h.owner, "nothing was added")
				h.has(t, k.dev, journal, n.admins)

				r := h.connprof(t, journal, netup+n.free).exits(t, exitDone)
				says(t, "netup", r.stdout, "added 20 addresses to "+k.dev+": "+n.free+" to "+n.last)
				h.hasAliases(t, k.dev, n.admins, n.free, k.label)
				inside(t, h.far, func() error { return meet(h, n.last) })

				says(t, "netdown", h.connprof(t, journal, "netdown --journal JOURNAL").exits(t, exitDone).stdout,
					"20 addresses removed from "+k.dev+": "+n.free+" to "+n.last)
				h.has(t, k.dev, journal, n.admins)
				says(t, "the second netdown", h.connprof(t, journal, "netdown --journal JOURNAL").exits(t, exitDone).stdout,
					"nothing to remove")
				h.has(t, k.dev, journal, n.admins)
			})
		}
	}
}

// carries waits for the carrier of every cable, without which a bond or bridge does not use it.
func (h hosts) carries(t *testing.T, cables []string) {
	t.Helper()
	for _, p := range []*netcfg.Private{h.near, h.far} {
		for _, name := range cables {
			inside(t, p, func() error { return untilCarrier(name) })
		}
	}
}

// has checks that an interface has this one address, and that no file is left beside the journal.
func (h hosts) has(t *testing.T, device, journal, admins string) {
	t.Helper()
	if got, _ := h.labelled(t, device); !slices.Equal(got, []string{admins}) {
		t.Errorf("%s has %v, want %s", device, got, admins)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(journal), "*")); len(left) > 0 {
		t.Errorf("left beside the journal: %v", left)
	}
}

// hasAliases checks that an interface has twenty addresses more, those of IPv4 with labels that count from the first.
func (h hosts) hasAliases(t *testing.T, device, admins, first, label string) {
	t.Helper()
	wanted, err := netcfg.Consecutive(first, 20)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{admins: device}
	for i, p := range wanted {
		// A longer number leaves less of the name.
		number := fmt.Sprintf(":cp%d", i)
		name, _, _ := strings.Cut(label, ":")
		want[p.String()] = name[:min(len(name), unix.IFNAMSIZ-1-len(number))] + number
	}
	got, labels := h.labelled(t, device)
	if len(got) != len(want) {
		t.Errorf("%s has %v", device, got)
	}
	for i, a := range got {
		w, ok := want[a]
		if wanted[0].Addr().Is6() {
			w = ""
		}
		if !ok || labels[i] != w {
			t.Errorf("%s has %s with label %q, want %q", device, a, labels[i], w)
		}
	}
}

// meet connects from the calling host to one of near's addresses: it is not only there, it can be reached.
func meet(h hosts, address string) error {
	family, at := unix.AF_INET, sockaddr(address)
	if strings.Contains(address, ":") {
		family = unix.AF_INET6
	}
	var listener int
	defer func() { _ = unix.Close(listener) }()
	err := h.near.Do(func() (err error) {
		if listener, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return errors.Join(unix.Bind(listener, at), unix.Listen(listener, 1))
	})
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	client, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(client) }()
	if err := unix.Connect(client, at); err != nil {
		return fmt.Errorf("connect to %s: %w", address, err)
	}
	return nil
}

// A VLAN with a long name and another one whose name is what the label leaves of it: the labels are the same.
func TestNetdownTellsVLANsWithTheSameLabelsApart(t *testing.T) {
	t.Parallel()
	h := unconnected(t)
	if !offered(t, "CONFIG_VETH", h.connect(t, "enp0s31f6")) || !offered(t, "CONFIG_VLAN_8021Q", h.near.Do(vlan("enp0s31f6", 4094))) {
		return
	}
	inside(t, h.near, vlan("enp0s31f6", 4))
	long, short := "enp0s31f6.4094", "enp0s31f6.4"
	h.ready(t, long, "enp0s31f6")
	h.ready(t, short, "enp0s31f6")
	journal := filepath.Join(t.TempDir(), "aliases.json")
	h.connprof(t, journal, "netup --dev "+long+" --ips 2 --cidr 192.168.1.200/24 --journal JOURNAL").exits(t, exitDone)
	h.connprof(t, journal, "netup --dev "+short+" --ips 2 --cidr 192.168.2.200/24 --journal JOURNAL").exits(t, exitDone)
	_, a := h.labelled(t, long)
	_, b := h.labelled(t, short)
	if !slices.Equal(a, b) || len(a) != 2 {
		t.Errorf("the labels are %v and %v: the test would prove nothing", a, b)
	}
	says(t, "netdown", h.connprof(t, journal, "netdown --dev "+long+" --journal JOURNAL").exits(t, exitDone).stdout,
		"2 addresses removed from "+long+": 192.168.1.200/24 to 192.168.1.201/24")
	if got, _ := h.labelled(t, short); !slices.Equal(got, []string{"192.168.2.200/24", "192.168.2.201/24"}) {
		t.Errorf("%s has %v", short, got)
	}
	h.connprof(t, journal, "netdown --journal JOURNAL").exits(t, exitDone)
	for _, name := range []string{long, short} {
		if got, _ := h.labelled(t, name); len(got) != 0 {
			t.Errorf("%s still has %v", name, got)
		}
	}
}

// A dummy interface leads nowhere and says so (NOARP). With ARP on it is one like others, where nobody answers.
func TestNetupOnADummyInterface(t *testing.T) {
	t.Parallel()
	h := unconnected(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "eth0"
	if !offered(t, "CONFIG_DUMMY", h.near.Do(func() error { return added(&netlink.Dummy{LinkAttrs: attrs}) })) {
		return
	}
	journal := filepath.Join(t.TempDir(), "aliases.json")
	const line = "netup --dev eth0 --cidr 192.168.1.200/24 --journal JOURNAL"
	h.connprof(t, journal, line).refuses(t, exitFailed, "eth0 has ARP switched off (NOARP)", "ip link set eth0 arp on")
	h.clean(t, journal)
	inside(t, h.near, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetARPOn(link)
	})
	h.connprof(t, journal, line).exits(t, exitDone)
	if got := h.addresses(t); len(got) != 20 {
		t.Errorf("eth0 has %v", got)
	}
	h.connprof(t, journal, "netdown --journal JOURNAL").exits(t, exitDone)
	h.clean(t, journal)
}

func sockaddr(address string) unix.Sockaddr {
	const port = 8090
	a := netip.MustParseAddr(address)
	if a.Is4() {
		return &unix.SockaddrInet4{Port: port, Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Port: port, Addr: a.As16()}
}
