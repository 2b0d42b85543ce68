package netcfg

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The ranges set aside for benchmarks of network devices (RFC 2544 and RFC 5180): no host on the Internet has them.
var (
	server4 = netip.AddrFrom4([4]byte{198, 18, 0, 1})
	client4 = netip.AddrFrom4([4]byte{198, 18, 1, 0})
	server6 = netip.MustParseAddr("2001:2::1")
	client6 = netip.MustParseAddr("2001:2::1:0")
)

func addresses(c Config) (server netip.Addr, clients []netip.Addr) {
	server, next := server4, client4
	if c.IPv6 {
		server, next = server6, client6
	}
	for range c.ClientAddresses {
		next = next.Next()
		clients = append(clients, next)
	}
	return server, clients
}

// addAddresses brings the loopback interface up with the server's address and the clients' as labelled aliases.
func (p *Private) addAddresses() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find interface lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring interface lo up: %w", err)
	}
	for i, a := range append([]netip.Addr{p.Server}, p.Clients...) {
		if err := addAddress(lo, a, i); err != nil {
			return err
		}
	}
	return nil
}

func addAddress(lo netlink.Link, a netip.Addr, i int) error {
	address := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}}
	if a.Is4() {
		address.Label = fmt.Sprintf("lo:%d", i)
	} else {
		address.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrAdd(lo, address); err != nil {
		return fmt.Errorf("add address %s to lo: %w", a, err)
	}
	return nil
}
