package netcfg

import (
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
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
		make     func(net.HardwareAddr, netip.Addr) (frame, error)
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
		got := made(t, c.make, c.a)
		if want := unhex(t, c.hex); string(got.packet) != string(want) || got.to.String() != c.mac {
			t.Errorf("%s:\n%x to %s, want\n%x to %s", c.name, got.packet, got.to, want, c.mac)
		}
	}
}

// made is a packet in the name of macA.
func made(t *testing.T, about func(net.HardwareAddr, netip.Addr) (frame, error), a netip.Addr) frame {
	t.Helper()
	f, err := about(macA, a)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWhoSendsFromAnAddressHasItAndWhoProbesWantsIt(t *testing.T) {
	a4, b4 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	a6, b6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	reply := arpRequest(macA, a4, b4)
	reply[7] = 2
	emptyReply := arpRequest(macA, netip.IPv4Unspecified(), b4)
	emptyReply[7] = 2
	probe6 := made(t, neighbourDiscovery.question, a6).packet
	routed := slices.Clone(probe6)
	routed[7] = 64
	advertised := made(t, neighbourDiscovery.announcement, a6).packet
	bare := icmp6Of(t, a6, &ndp.NeighborAdvertisement{TargetAddress: a6})
	asking := icmp6Of(t, a6, &ndp.NeighborSolicitation{TargetAddress: b6})
	router := icmp6Of(t, a6, &ndp.RouterSolicitation{})
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
		{"advertisement without option", neighbourDiscovery, bare, claim{a6, macB, false}, true},
		{"advertisement with a trailer of the link's", neighbourDiscovery, append(slices.Clone(bare), 0, 0, 0), claim{a6, macB, false}, true},
		{"solicitation", neighbourDiscovery, asking, claim{a6, macB, false}, true},
		{"detection", neighbourDiscovery, probe6, claim{a6, macB, true}, true},
		{"from afar", neighbourDiscovery, routed, claim{}, false},
		{"short", neighbourDiscovery, probe6[:63], claim{}, false},
		{"cut off", neighbourDiscovery, advertised[:len(advertised)-1], claim{}, false},
		{"other message", neighbourDiscovery, router, claim{}, false},
		{"unknown message", neighbourDiscovery, slices.Replace(slices.Clone(bare), 40, 41, 137), claim{}, false},
	} {
		got, ok := c.p.heard(c.packet, macB)
		if ok != c.ok || ok && (got.address != c.want.address || got.probe != c.want.probe || got.mac.String() != c.want.mac.String()) {
			t.Errorf("%s: %+v, %v; want %+v, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

func icmp6Of(t *testing.T, from netip.Addr, m ndp.Message) []byte {
	t.Helper()
	f, err := icmp6(from, netip.IPv6LinkLocalAllNodes(), m)
	if err != nil {
		t.Fatal(err)
	}
	return f.packet
}

// A message with an option that has no length, or that ends beyond it, is discarded (RFC 4861, 7.1.2).
func TestOptionsOfAnyLengthAreReadToTheirEnd(t *testing.T) {
	bare := icmp6Of(t, netip.MustParseAddr("2001:db8::1"), &ndp.NeighborAdvertisement{TargetAddress: netip.MustParseAddr("2001:db8::1")})
	for text, want := range map[string]string{
		"":                                      macB.String(), // the sender's
		"02":                                    "",
		"02 00 02000000000a":                    "",
		"02 02 02000000000a":                    "",
		"02 01 02000000000a":                    macA.String(),
		"01 01 02000000000a":                    macB.String(), // the source's, which says nothing of the target
		"0e 01 000000000000 02 01 02000000000a": macA.String(),
		"fd 02 0000000000000000000000000000":    macB.String(), // an unknown one
	} {
		options := unhex(t, text)
		packet := append(slices.Clone(bare), options...)
		packet[5] += byte(len(options))
		if c, ok := heardNeighbour(packet, macB); ok != (want != "") || c.mac.String() != want {
			t.Errorf("options %s: %s, want %s", text, c.mac, want)
		}
	}
}

func TestTheSocketGetsSolicitationsAndAdvertisementsOnly(t *testing.T) {
	vm, err := bpf.NewVM(solicitationsAndAdvertisements)
	if err != nil {
		t.Fatal(err)
	}
	a := netip.MustParseAddr("2001:db8::1")
	udp := icmp6Of(t, a, &ndp.NeighborSolicitation{TargetAddress: a})
	udp[6] = unix.IPPROTO_UDP
	for _, c := range []struct {
		name   string
		packet []byte
		passes bool
	}{
		{"question", made(t, neighbourDiscovery.question, a).packet, true},
		{"announcement", made(t, neighbourDiscovery.announcement, a).packet, true},
		{"router solicitation", icmp6Of(t, a, &ndp.RouterSolicitation{}), false},
		{"router advertisement", icmp6Of(t, a, &ndp.RouterAdvertisement{}), false},
		{"UDP", udp, false},
		{"cut off", udp[:6], false},
	} {
		n, err := vm.Run(c.packet)
		if passes := n >= len(c.packet); err != nil || passes != c.passes {
			t.Errorf("%s: %d bytes of %d pass, %v", c.name, n, len(c.packet), err)
		}
	}
}

func TestAskingIsOverWithinThreeSeconds(t *testing.T) {
	if probeRounds != 3 || ProbeTime > 2900*time.Millisecond {
		t.Errorf("%d probes in %v, want 3 and time to spare within 3 s", probeRounds, ProbeTime)
	}
}
