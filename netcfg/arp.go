package netcfg

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// arp asks with the probes of RFC 5227: requests whose sender has no address yet, so that nobody's cache is spoilt.
var arp = protocol{
	etherType: unix.ETH_P_ARP,
	question: func(mac net.HardwareAddr, a netip.Addr) (frame, error) {
		return frame{arpRequest(mac, netip.IPv4Unspecified(), a), broadcastMAC}, nil
	},
	announcement: func(mac net.HardwareAddr, a netip.Addr) (frame, error) {
		return frame{arpRequest(mac, a, a), broadcastMAC}, nil
	},
	heard:  heardARP,
	listen: func(int, []netip.Prefix) (func(), error) { return func() {}, nil }, // all of it is broadcast or sent to us
}

var broadcastMAC = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

const (
	arpSize   = 28 // bytes, for Ethernet and IPv4 (RFC 826)
	opRequest = 1
)

// arpHead is hardware Ethernet, protocol IPv4, and the sizes of their addresses.
var arpHead = []byte{0, 1, 8, 0, 6, 4}

// arpRequest is the packet: head, operation, sender's MAC and address, target's MAC (not known: zeros) and address.
func arpRequest(mac net.HardwareAddr, sender, target netip.Addr) []byte {
	p := make([]byte, 0, arpSize)
	p = append(p, arpHead...)
	p = binary.BigEndian.AppendUint16(p, opRequest)
	p = append(p, mac...)
	p = append(p, sender.AsSlice()...)
	p = append(p, make([]byte, 6)...)
	return append(p, target.AsSlice()...)
}

// heardARP is RFC 5227, 2.1.1: whoever sends from an address has it, in a request as in a reply; a probe of somebody
// else's is a claim to its target.
func heardARP(p []byte, _ net.HardwareAddr) (c claim, ok bool) {
	if len(p) < arpSize || string(p[:len(arpHead)]) != string(arpHead) {
		return c, false
	}
	c.mac = p[8:14]
	c.address = netip.AddrFrom4([4]byte(p[14:18]))
	if c.address.IsUnspecified() {
		c.probe = binary.BigEndian.Uint16(p[6:]) == opRequest
		c.address = netip.AddrFrom4([4]byte(p[24:28]))
		return c, c.probe
	}
	return c, true
}
