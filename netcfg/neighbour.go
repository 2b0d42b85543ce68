package netcfg

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// neighbourDiscovery asks with the solicitations of duplicate address detection (RFC 4862, 5.4): from no address, so that
// owners answer to all nodes. Package ndp makes and reads the messages. They do not go over its Conn: that one sends
// from an address of the interface only, and does not tell which link-layer address a packet came from.
var neighbourDiscovery = protocol{
	etherType: unix.ETH_P_IPV6,
	filter:    solicitationsAndAdvertisements,
	question: func(_ net.HardwareAddr, a netip.Addr) (frame, error) {
		group, err := ndp.SolicitedNodeMulticast(a)
		if err != nil {
			return frame{}, err
		}
		return icmp6(netip.IPv6Unspecified(), group, &ndp.NeighborSolicitation{TargetAddress: a})
	},
	announcement: func(mac net.HardwareAddr, a netip.Addr) (frame, error) {
		return icmp6(a, netip.IPv6LinkLocalAllNodes(), &ndp.NeighborAdvertisement{Override: true, TargetAddress: a,
			Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac}}})
	},
	heard:  heardNeighbour,
	listen: joinGroups,
}

// solicitationsAndAdvertisements lets through those two alone, of all the interface's IPv6 packets.
var solicitationsAndAdvertisements = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 6, Size: 1}, // next header
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_ICMPV6, SkipFalse: 4},
	bpf.LoadAbsolute{Off: ipv6.HeaderLen, Size: 1}, // type
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(ipv6.ICMPTypeNeighborSolicitation), SkipTrue: 1},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(ipv6.ICMPTypeNeighborAdvertisement), SkipFalse: 1},
	bpf.RetConstant{Val: 2048},
	bpf.RetConstant{Val: 0},
}

// icmp6 is a message to a multicast group in an IPv6 packet.
func icmp6(from, group netip.Addr, m ndp.Message) (frame, error) {
	message, err := ndp.MarshalMessageChecksum(m, from, group)
	if err != nil {
		return frame{}, err
	}
	p := []byte{ipv6.Version << 4, 0, 0, 0, 0, byte(len(message)), unix.IPPROTO_ICMPV6, ndp.HopLimit}
	p = append(p, from.AsSlice()...)
	p = append(p, group.AsSlice()...)
	return frame{append(p, message...), multicastMAC(group)}, nil
}

func multicastMAC(group netip.Addr) net.HardwareAddr {
	ip := group.As16()
	return net.HardwareAddr{0x33, 0x33, ip[12], ip[13], ip[14], ip[15]}
}

// heardNeighbour: whoever sends from an address or advertises it has it; a solicitation from no address is somebody
// else's detection (RFC 4862, 5.4.3). What is no valid message is ignored, as every host does (RFC 4861, 7.1).
func heardNeighbour(p []byte, from net.HardwareAddr) (c claim, ok bool) {
	h, err := ipv6.ParseHeader(p)
	// No router lets that hop limit be.
	if err != nil || h.NextHeader != unix.IPPROTO_ICMPV6 || h.HopLimit != ndp.HopLimit || len(p) < ipv6.HeaderLen+h.PayloadLen {
		return c, false
	}
	message, err := ndp.ParseMessage(p[ipv6.HeaderLen:][:h.PayloadLen])
	if err != nil {
		return c, false
	}
	c.mac = from
	switch m := message.(type) {
	case *ndp.NeighborAdvertisement:
		c.address = m.TargetAddress
		for _, o := range m.Options {
			if link, ok := o.(*ndp.LinkLayerAddress); ok && link.Direction == ndp.Target {
				c.mac = link.Addr
			}
		}
	case *ndp.NeighborSolicitation:
		c.address, c.probe = m.TargetAddress, true
		if !h.Src.IsUnspecified() {
			c.address, c.probe = netip.AddrFrom16([16]byte(h.Src)), false
		}
	default:
		return c, false
	}
	return c, true
}

// joinGroups joins the groups to which others' questions about the addresses go, and tells switches that listen for it
// (RFC 4862, 5.4.2).
func joinGroups(index int, wanted []netip.Prefix) (release func(), err error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open an IPv6 socket: %w", err)
	}
	for _, p := range wanted {
		group, err := ndp.SolicitedNodeMulticast(p.Addr())
		if err == nil {
			mreq := &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(index)}
			err = unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, mreq)
		}
		if err != nil {
			_ = unix.Close(fd)
			return nil, fmt.Errorf("join the multicast group of %s: %w", p.Addr(), err)
		}
	}
	return func() { _ = unix.Close(fd) }, nil
}
