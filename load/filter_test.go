package load

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/sockfilter"
)

func parsed(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func TestNeighboursShareASpan(t *testing.T) {
	for _, c := range []struct {
		addresses []string
		spans     int
	}{
		{[]string{"10.0.0.1"}, 1},
		{[]string{"10.0.0.2", "10.0.0.1", "10.0.0.3", "10.0.0.2"}, 1},
		{[]string{"10.0.0.1", "10.0.0.3"}, 2},
		{[]string{"10.0.0.255", "10.0.1.0"}, 1},
		{[]string{"0.0.0.1", "255.255.255.255"}, 2},
		{[]string{"fd00::1", "fd00::2", "fd00::4"}, 2},
		{[]string{"fd00::ffff:ffff", "fd00::1:0:0"}, 2}, // next to each other, with another prefix
		{[]string{"fd00::1", "fd01::2"}, 2},
	} {
		if got := spans(parsed(c.addresses...)); len(got) != c.spans {
			t.Errorf("%v are in the spans %v, want %d", c.addresses, got, c.spans)
		}
	}
}

// passes runs a filter on a segment from an address. The machine of package bpf does not know the kernel's offsets below
// zero: the words that the filter loads are put where the packet begins.
func passes(t *testing.T, program []bpf.Instruction, from netip.Addr) bool {
	t.Helper()
	header, source := make([]byte, 40), uint32(sourceOfIP4)
	if from.Is6() {
		source = sourceOfIP6
	}
	copy(header[source-skfNetOff:], from.AsSlice())
	program = slices.Clone(program)
	for i := range program {
		if load, ok := program[i].(bpf.LoadAbsolute); ok {
			load.Off -= skfNetOff
			program[i] = load
		}
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(header)
	if err != nil {
		t.Fatal(err)
	}
	return n != 0
}

func TestTheFilterPassesTheAddressesAndNoOthers(t *testing.T) {
	for _, list := range [][]netip.Addr{
		parsed("10.0.0.1"), parsed("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.9", "192.168.7.7"),
		parsed("0.0.0.1", "255.255.255.255", "127.255.255.255", "128.0.0.0"),
		parsed("fd00::1"), parsed("fd00::1", "fd00::2", "fd00::5", "fd00:0:0:1::1", "fe00::1", "fd00::ffff:ffff", "fd00::1:0:0"),
		scattered(254, everyOther), scattered(254, everyOther6), scattered(254, everyNetwork6),
	} {
		program := gateFilter(list)
		asked := slices.Clone(list)
		for _, a := range list {
			asked = append(asked, a.Prev(), a.Next())
			if a.Is6() { // each other word differs
				for i := 0; i < 16; i += 4 {
					b := a.As16()
					b[i] ^= 1
					asked = append(asked, netip.AddrFrom16(b))
				}
			}
		}
		for _, a := range asked {
			if a.IsValid() && passes(t, program, a) != slices.Contains(list, a) {
				t.Errorf("the filter for %v passes %v: %v", list, a, !slices.Contains(list, a))
			}
		}
	}
}

// scattered are n addresses of which no two are neighbours.
func scattered(n int, address func(i byte) netip.Addr) (list []netip.Addr) {
	for i := range n {
		list = append(list, address(byte(i)))
	}
	return list
}

func everyOther(i byte) netip.Addr    { return netip.AddrFrom4([4]byte{192, i, 0, 1}) }
func everyOther6(i byte) netip.Addr   { return netip.AddrFrom16([16]byte{0xfd, 13: 0xff, 14: i, 15: 1}) }
func everyNetwork6(i byte) netip.Addr { return netip.AddrFrom16([16]byte{0xfd, i, 15: 1}) }

// 254 is as many as a run can have, and as package peer lets through. On kernels before 6.7 as many IPv6 addresses, each of
// a network of its own, are too much.
func TestTheKernelTakesTheLongestFilter(t *testing.T) {
	for _, c := range []struct {
		name    string
		address func(byte) netip.Addr
		refused bool
	}{{"IPv4", everyOther, false}, {"IPv6", everyOther6, false}, {"IPv6 networks", everyNetwork6, true}} {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		g := newGate(Config{End: kernel.RoleServer, Clients: scattered(254, c.address)})
		err = g.guard(fd)
		if c.refused && errors.Is(err, unix.ENOMEM) && strings.Contains(err.Error(), "for 254 addresses") &&
			strings.Contains(err.Error(), "net.core.optmem_max") {
			continue
		}
		if err != nil {
			t.Errorf("%s, a filter of %d instructions: %v", c.name, len(g.listeners), err)
		}
	}
}

// The kernel's own machine agrees: what is not announced does not arrive.
func TestTheFilterHoldsOnARealSocket(t *testing.T) {
	to, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	raw, err := to.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	list := parsed("127.3.0.1", "127.3.0.2", "127.3.0.9")
	var attach error
	if err := raw.Control(func(fd uintptr) {
		attach = sockfilter.Attach(int(fd), gateFilter(list))
	}); err != nil || attach != nil {
		t.Fatal(err, attach)
	}
	for _, text := range []string{"127.3.0.1", "127.3.0.3", "127.3.0.8", "127.3.0.2", "127.3.0.10", "127.3.0.9"} {
		from, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(text)}, to.LocalAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := from.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		from.Close()
	}
	b := make([]byte, 100)
	_ = to.SetReadDeadline(time.Now().Add(time.Minute))
	for _, want := range []string{"127.3.0.1", "127.3.0.2", "127.3.0.9"} {
		n, err := to.Read(b)
		if err != nil || string(b[:n]) != want {
			t.Fatalf("from %q came next, want %q: %v", b[:n], want, err)
		}
	}
}
