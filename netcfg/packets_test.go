package netcfg

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	macA = net.HardwareAddr{2, 0, 0, 0, 0, 0xa}
	macB = net.HardwareAddr{2, 0, 0, 0, 0, 0xb}
)

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestQuestionsAndAnnouncementsAreThoseOfTheRFCs(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.168.1.200"), netip.MustParseAddr("2001:db8::12:3456")
	for _, c := range []struct {
		name     string
		make     func(net.HardwareAddr, netip.Addr) ([]byte, net.HardwareAddr)
		a        netip.Addr
		hex, mac string
	}{
		{"probe, RFC 5227 2.1.1", arp.question, v4,
			"0001 0800 06 04 0001  02000000000a 00000000  000000000000 c0a801c8", "ff:ff:ff:ff:ff:ff"},
		{"announcement, RFC 5227 2.3", arp.announcement, v4,
			"0001 0800 06 04 0001  02000000000a c0a801c8  000000000000 c0a801c8", "ff:ff:ff:ff:ff:ff"},
		{"solicitation, RFC 4862 5.4.2", neighbourDiscovery.question, v6,
			"60000000 0018 3a ff  00000000000000000000000000000000 ff0200000000000000000001ff123456" +
				"87 00 e41e 00000000  20010db8000000000000000000123456", "33:33:ff:12:34:56"},
		{"unsolicited advertisement, RFC 4861 7.2.6", neighbourDiscovery.announcement, v6,
			"60000000 0020 3a ff  20010db8000000000000000000123456 ff020000000000000000000000000001" +
				"88 00 9053 20000000  20010db8000000000000000000123456  02 01 02000000000a", "33:33:00:00:00:01"},
	} {
		packet, to := c.make(macA, c.a)
		if want := unhex(t, c.hex); string(packet) != string(want) || to.String() != c.mac {
			t.Errorf("%s:\n%x to %s, want\n%x to %s", c.name, packet, to, want, c.mac)
		}
	}
}

func TestAnICMPv6ChecksumAddsUp(t *testing.T) {
	packet, _ := neighbourDiscovery.announcement(macB, netip.MustParseAddr("2001:db8::fffe"))
	sum := onesSum(packet[8:]) + uint32(len(packet)-ip6Size) + 58
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if sum != 0xffff {
		t.Errorf("the packet with its checksum sums up to %#x, want 0xffff", sum)
	}
}

func TestWhoSendsFromAnAddressHasItAndWhoProbesWantsIt(t *testing.T) {
	a4, b4 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	a6, b6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	reply := arpRequest(macA, a4, b4)
	reply[7] = 2
	emptyReply := arpRequest(macA, netip.IPv4Unspecified(), b4)
	emptyReply[7] = 2
	routed, _ := neighbourDiscovery.question(macA, a6)
	routed[7] = 64
	probe6, _ := neighbourDiscovery.question(macA, a6)
	advertised, _ := neighbourDiscovery.announcement(macA, a6)
	for _, c := range []struct {
		name   string
		p      protocol
		packet []byte
		want   claim
		ok     bool
	}{
		{"request", arp, arpRequest(macA, a4, b4), claim{a4, macA, false}, true},
		{"reply", arp, reply, claim{a4, macA, false}, true},
		{"probe", arp, arpRequest(macA, netip.IPv4Unspecified(), b4), claim{b4, macA, true}, true},
		{"reply from nobody", arp, emptyReply, claim{}, false},
		{"short", arp, reply[:27], claim{}, false},
		{"empty", arp, nil, claim{}, false},
		{"other hardware", arp, append([]byte{0, 6}, reply[2:]...), claim{}, false},
		{"advertisement", neighbourDiscovery, advertised, claim{a6, macA, false}, true},
		{"advertisement without option", neighbourDiscovery, advertised[:64], claim{a6, macB, false}, true},
		{"solicitation", neighbourDiscovery, icmp6(a6, solicitedNode(b6), message(solicitation, 0, b6)), claim{a6, macB, false}, true},
		{"detection", neighbourDiscovery, probe6, claim{a6, macB, true}, true},
		{"from afar", neighbourDiscovery, routed, claim{}, false},
		{"short", neighbourDiscovery, probe6[:63], claim{}, false},
		{"other message", neighbourDiscovery, icmp6(a6, b6, message(137, 0, b6)), claim{}, false},
	} {
		got, ok := c.p.heard(c.packet, macB)
		if ok != c.ok || ok && (got.address != c.want.address || got.probe != c.want.probe || got.mac.String() != c.want.mac.String()) {
			t.Errorf("%s: %+v, %v; want %+v, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

func TestOptionsOfAnyLengthAreReadToTheirEnd(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "",
		"02":                                    "",
		"02 00 02000000000a":                    "", // length 0
		"02 02 02000000000a":                    "", // longer than the packet
		"02 01 02000000000a":                    "02:00:00:00:00:0a",
		"0e 01 000000000000 02 01 02000000000a": "02:00:00:00:00:0a",
	} {
		mac, _ := linkLayerOption(unhex(t, text))
		if mac.String() != want {
			t.Errorf("options %s: %s, want %s", text, mac, want)
		}
	}
}

func TestAskingIsOverWithinThreeSeconds(t *testing.T) {
	if probeRounds != 3 || ProbeTime > 2900*time.Millisecond {
		t.Errorf("%d probes in %v, want 3 and time to spare within 3 s", probeRounds, ProbeTime)
	}
}
