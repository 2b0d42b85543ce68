package netcfg

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// device is an interface that aliases can be added to.
type device struct {
	index int
	name  string
	mac   net.HardwareAddr
}

// carrier is what the flags of an interface with a carrier have.
const carrier = unix.IFF_RUNNING | unix.IFF_LOWER_UP

// unfitDevices are the interfaces on which nobody can be asked whether an address is free; the first that applies is
// told. The causes come before their consequences.
var unfitDevices = []struct {
	is       func(*netlink.LinkAttrs) bool
	why, fix string
}{
	{func(a *netlink.LinkAttrs) bool { return a.RawFlags&unix.IFF_LOOPBACK != 0 },
		"is the loopback interface, whose addresses nobody else can see",
		"connprof run makes a private one with addresses by itself; give an interface that leads to a network"},
	{func(a *netlink.LinkAttrs) bool { return a.EncapType != "ether" || len(a.HardwareAddr) != 6 },
		"is no Ethernet interface: it has neither ARP nor neighbour discovery", "give an Ethernet, VLAN, bond, bridge or veth interface"},
	{func(a *netlink.LinkAttrs) bool { return a.RawFlags&unix.IFF_NOARP != 0 },
		"has ARP switched off (NOARP), so nobody can be asked whether an address is free",
		"give another one, or switch it on with ip link set DEV arp on"},
	{func(a *netlink.LinkAttrs) bool { return a.RawFlags&unix.IFF_UP == 0 }, "is down", "bring it up with ip link set DEV up"},
	// The kernel clears RUNNING some time after the carrier is gone (linkwatch), LOWER_UP at once.
	{func(a *netlink.LinkAttrs) bool { return a.RawFlags&carrier != carrier },
		"is up but has no carrier, so nobody can be asked whether an address is free",
		"connect its cable, its port or its other end; ip link shows LOWER_UP then"},
}

// findDevice finds an interface by one of its names and judges it.
func findDevice(name string) (device, error) {
	link, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) || errors.Is(err, unix.ENODEV) {
		return device{}, fmt.Errorf("there is no interface %s here; give one of %s", Printable(name), deviceNames())
	}
	if err != nil {
		return device{}, fmt.Errorf("find interface %s: %w", Printable(name), err)
	}
	attrs := link.Attrs()
	for _, unfit := range unfitDevices {
		if unfit.is(attrs) {
			name := Printable(attrs.Name)
			return device{}, fmt.Errorf("interface %s %s; %s", name, unfit.why, strings.ReplaceAll(unfit.fix, "DEV", name))
		}
	}
	return device{attrs.Index, attrs.Name, attrs.HardwareAddr}, checkPort(attrs)
}

func deviceNames() string {
	links, err := netlink.LinkList()
	if err != nil || len(links) == 0 {
		return "those that ip link lists"
	}
	var names []string
	for _, l := range links {
		names = append(names, Printable(l.Attrs().Name))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// checkPort refuses the ports of a bridge, bond or the like: what arrives there is the master's, answers included.
func checkPort(attrs *netlink.LinkAttrs) error {
	if attrs.MasterIndex == 0 {
		return nil
	}
	master, err := netlink.LinkByIndex(attrs.MasterIndex)
	if err != nil {
		return fmt.Errorf("find the master of interface %s: %w", Printable(attrs.Name), err)
	}
	if master.Type() == "vrf" { // its ports keep their addresses
		return nil
	}
	name := Printable(master.Attrs().Name)
	return fmt.Errorf("interface %s is a port of the %s %s, which gets all that arrives there; give %s instead",
		Printable(attrs.Name), master.Type(), name, name)
}

// checkIPv6 refuses an interface that has no IPv6, which the kernel itself would do with "permission denied".
func (d device) checkIPv6() error {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + d.name + "/disable_ipv6")
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("interface %s has no IPv6 (a kernel without it, or an MTU below 1280); give an IPv4 address",
			Printable(d.name))
	case err != nil:
		return fmt.Errorf("see whether interface %s has IPv6: %w", Printable(d.name), err)
	case strings.TrimSpace(string(b)) != "0":
		return fmt.Errorf("IPv6 is switched off on interface %s; switch it on with sysctl net.ipv6.conf.%s.disable_ipv6=0",
			Printable(d.name), Printable(strings.ReplaceAll(d.name, ".", "/")))
	}
	return nil
}

// checkFree refuses addresses that this host has, or knows to be somebody's: gateways, and the broadcast and anycast
// addresses of its subnets.
func (d device) checkFree(wanted []netip.Prefix) error {
	taken, err := takenAddresses()
	if err != nil {
		return err
	}
	var problems []string
	for _, p := range wanted {
		if why, ok := taken[p.Addr()]; ok {
			problems = append(problems, p.Addr().String()+" "+why)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%s cannot be added to %s: %s; choose other addresses (connprof netdown removes what netup added)",
		counted(len(problems)), Printable(d.name), strings.Join(problems, ", "))
}

func takenAddresses() (map[netip.Addr]string, error) {
	taken := map[netip.Addr]string{}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("list the routes: %w", err)
		}
		for _, r := range routes {
			takenByRoute(taken, &r)
		}
	}
	present, err := listAddresses()
	if err != nil {
		return nil, err
	}
	for _, a := range present {
		taken[a.prefix.Addr()] = "is already on " + a.where()
	}
	return taken, nil
}

func takenByRoute(taken map[netip.Addr]string, r *netlink.Route) {
	gateways := []net.IP{r.Gw}
	if via, ok := r.Via.(*netlink.Via); ok {
		gateways = append(gateways, via.Addr)
	}
	for _, hop := range r.MultiPath {
		gateways = append(gateways, hop.Gw)
	}
	for _, gw := range gateways {
		if a, ok := netip.AddrFromSlice(gw); ok && !a.IsUnspecified() {
			taken[a.Unmap()] = "is a gateway"
		}
	}
	names := map[int]string{unix.RTN_BROADCAST: "is a broadcast address", unix.RTN_ANYCAST: "is an anycast address"}
	if why, ok := names[r.Type]; ok && r.Dst != nil {
		if a, ok := netip.AddrFromSlice(r.Dst.IP); ok {
			taken[a.Unmap()] = why
		}
	}
}
