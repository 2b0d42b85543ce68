package netcfg

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// neighbourDiscovery asks with the solicitations of duplicate address detection (RFC 4862, 5.4): from no address, so that
// owners answer to all nodes.
var neighbourDiscovery = protocol{
	etherType: unix.ETH_P_IPV6,
	filter:    solicitationsAndAdvertisements,
	question: func(_ net.HardwareAddr, a netip.Addr) ([]byte, net.HardwareAddr) {
		group := solicitedNode(a)
		return icmp6(netip.IPv6Unspecified(), group, message(solicitation, 0, a)), multicastMAC(group)
	},
	announcement: func(mac net.HardwareAddr, a netip.Addr) ([]byte, net.HardwareAddr) {
		m := append(message(advertisement, flagOverride, a), append([]byte{targetLinkLayer, 1}, mac...)...)
		return icmp6(a, allNodes, m), multicastMAC(allNodes)
	},
	heard:  heardNeighbour,
	listen: joinGroups,
}

// Numbers of RFC 4861.
const (
	solicitation    = 135
	advertisement   = 136
	flagOverride    = 0x20
	targetLinkLayer = 2
	hopLimit        = 255 // no router lets it be
	ip6Size         = 40
	messageSize     = 24 // type, code, checksum, flags, target
)

var allNodes = netip.MustParseAddr("ff02::1")

// solicitationsAndAdvertisements lets through those two alone, of all the interface's IPv6 packets.
var solicitationsAndAdvertisements = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 6}, // next header
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_ICMPV6, Jf: 4},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: ip6Size}, // type
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: solicitation, Jt: 1},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: advertisement, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 2048},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

// solicitedNode is the multicast group of all addresses with the same last three bytes.
func solicitedNode(a netip.Addr) netip.Addr {
	group, ip := netip.MustParseAddr("ff02::1:ff00:0").As16(), a.As16()
	copy(group[13:], ip[13:])
	return netip.AddrFrom16(group)
}

func multicastMAC(group netip.Addr) net.HardwareAddr {
	ip := group.As16()
	return net.HardwareAddr{0x33, 0x33, ip[12], ip[13], ip[14], ip[15]}
}

func message(kind, flags byte, target netip.Addr) []byte {
	return append([]byte{kind, 0, 0, 0, flags, 0, 0, 0}, target.AsSlice()...)
}

// icmp6 is an IPv6 packet with that ICMPv6 message, whose checksum it fills in.
func icmp6(from, to netip.Addr, message []byte) []byte {
	p := []byte{6 << 4, 0, 0, 0, 0, byte(len(message)), unix.IPPROTO_ICMPV6, hopLimit}
	p = append(p, from.AsSlice()...)
	p = append(p, to.AsSlice()...)
	// The pseudo header: both addresses, the length, the next header (RFC 8200, 8.1).
	sum := onesSum(p[8:]) + uint32(len(message)) + unix.IPPROTO_ICMPV6 + onesSum(message)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(message[2:], ^uint16(sum))
	return append(p, message...)
}

func onesSum(b []byte) (sum uint32) {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	return sum
}

// heardNeighbour: whoever sends from an address or advertises it has it; a solicitation from no address is somebody
// else's detection (RFC 4862, 5.4.3).
func heardNeighbour(p []byte, from net.HardwareAddr) (c claim, ok bool) {
	if len(p) < ip6Size+messageSize || p[6] != unix.IPPROTO_ICMPV6 || p[7] != hopLimit {
		return c, false
	}
	c.mac = from
	source, target := netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[ip6Size+8:ip6Size+24]))
	switch kind := p[ip6Size]; {
	case kind == advertisement:
		c.address = target
		if mac, ok := linkLayerOption(p[ip6Size+messageSize:]); ok {
			c.mac = mac
		}
	case kind == solicitation && source.IsUnspecified():
		c.address, c.probe = target, true
	case kind == solicitation:
		c.address = source
	default:
		return c, false
	}
	return c, true
}

// linkLayerOption finds the target's MAC among a message's options, each with its length in units of 8 bytes.
func linkLayerOption(options []byte) (net.HardwareAddr, bool) {
	for len(options) >= 8 && options[1] > 0 && len(options) >= 8*int(options[1]) {
		if options[0] == targetLinkLayer {
			return options[2:8], true
		}
		options = options[8*int(options[1]):]
	}
	return nil, false
}

// joinGroups joins the groups to which others' questions about the addresses go, and tells switches that listen for it
// (RFC 4862, 5.4.2).
func joinGroups(index int, plan []netip.Prefix) (release func(), err error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open an IPv6 socket: %w", err)
	}
	for _, p := range plan {
		group := solicitedNode(p.Addr())
		mreq := &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(index)}
		if err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, mreq); err != nil {
			_ = unix.Close(fd)
			return nil, fmt.Errorf("join the multicast group %s: %w", group, err)
		}
	}
	return func() { _ = unix.Close(fd) }, nil
}
