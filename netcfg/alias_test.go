package netcfg

import (
	"net/netip"
	"strings"
	"testing"
)

func TestAPlanIsConsecutiveAddressesAHostMayHave(t *testing.T) {
	for _, c := range []struct {
		cidr        string
		n           int
		first, last string
	}{
		{"192.168.1.200/24", 20, "192.168.1.200/24", "192.168.1.219/24"},
		{"192.168.1.1/24", 254, "192.168.1.1/24", "192.168.1.254/24"},
		{"10.0.0.250/8", 20, "10.0.0.250/8", "10.0.1.13/8"}, // .255 and .0 are ordinary addresses here
		{"192.168.1.1/30", 2, "192.168.1.1/30", "192.168.1.2/30"},
		{"192.168.1.0/31", 2, "192.168.1.0/31", "192.168.1.1/31"},
		{"192.168.1.7/32", 1, "192.168.1.7/32", "192.168.1.7/32"},
		{"2001:db8::200/64", 20, "2001:db8::200/64", "2001:db8::213/64"},
		{"2001:db8::ffff/64", 2, "2001:db8::ffff/64", "2001:db8::1:0/64"},
		{"fe80::1/64", 1, "fe80::1/64", "fe80::1/64"},
		{"2001:db8::/127", 2, "2001:db8::/127", "2001:db8::1/127"},
	} {
		wanted, err := Consecutive(c.cidr, c.n)
		if err != nil {
			t.Errorf("%s: %v", c.cidr, err)
			continue
		}
		if len(wanted) != c.n || wanted[0].String() != c.first || wanted[c.n-1].String() != c.last {
			t.Errorf("%s: %d addresses from %s to %s, want %d from %s to %s", c.cidr, len(wanted), wanted[0], wanted[len(wanted)-1],
				c.n, c.first, c.last)
		}
	}
}

func TestAPlanThatCannotBeIsRefused(t *testing.T) {
	const want = "want an address with its prefix length"
	for _, c := range []struct {
		cidr string
		n    int
		says string
	}{
		{"", 20, want}, {"192.168.1.200", 20, want}, {"192.168.1.200/33", 20, want}, {"192.168.1.200/-1", 20, want},
		{"192.168.1.256/24", 20, want}, {"eth0/24", 20, want}, {"192.168.1.200/24/24", 20, want}, {" 10.0.0.1/8", 1, want},
		{"fe80::1%eth0/64", 20, want}, {"192.168.1.200/255.255.255.0", 20, want}, {"192.168.01.2/24", 1, want},
		{"192.168.1.200/24", 0, "want 1 to 254"},
		{"192.168.1.200/24", -1, "want 1 to 254"},
		{"10.0.0.1/8", 255, "want 1 to 254"},
		{"192.168.1.1/30", 20, "20 addresses do not fit: 192.168.1.1/30 ends after 3"},
		{"192.168.1.240/24", 20, "192.168.1.240/24 ends after 16"},
		{"192.168.1.7/32", 2, "ends after 1"},
		{"255.255.255.254/31", 3, "reserved"},
		{"192.168.1.0/24", 20, "192.168.1.0 is the network address of 192.168.1.0/24"},
		{"192.168.1.236/24", 20, "192.168.1.255 is the broadcast address of 192.168.1.0/24"},
		{"2001:db8::/64", 20, "2001:db8:: is the subnet-router anycast address of 2001:db8::/64"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/64", 20, "multicast"},
		{"224.0.0.5/24", 1, "multicast"},
		{"ff02::1/64", 1, "multicast"},
		{"127.0.0.2/8", 1, "loopback"},
		{"::1/128", 1, "loopback"},
		{"0.0.0.5/8", 1, "this host"},
		{"240.0.0.1/8", 1, "reserved"},
		{"::ffff:192.168.1.200/120", 1, "write it as IPv4"},
		{"10.0.0.1/0", 1, "at least /8"},
		{"2001:db8::1/0", 1, "at least /16"},
	} {
		wanted, err := Consecutive(c.cidr, c.n)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%d from %s: %v, %v; want an error that says %q", c.n, c.cidr, wanted, err, c.says)
		}
	}
}

func TestALabelFitsAndBeginsWithTheInterface(t *testing.T) {
	for _, c := range []struct {
		device string
		n      int
		want   string
	}{
		{"eth0", 0, "eth0:cp0"},
		{"eth0", 253, "eth0:cp253"},
		{"eth0.100", 7, "eth0.100:cp7"},
		{"enp0s31f6u1u2", 7, "enp0s31f6u1:cp7"},
		{"averyveryverylo", 123, "averyvery:cp123"},
		{"ethééééé", 1, "ethéééé:cp1"},
		{"aethééééé", 1, "aethééé:cp1"}, // no half of a letter
	} {
		got := label(c.device, c.n)
		if got != c.want || len(got) > 15 {
			t.Errorf("label(%q, %d) = %q, want %q", c.device, c.n, got, c.want)
		}
	}
}

func TestNamesThatNoInterfaceCanHaveAreRefused(t *testing.T) {
	for name, say := range map[string]string{"": "want the name", "a b": "no interface can have the name", "a/b": "no interface",
		"a\tb": "no interface", "..": "no interface", ":": "no interface", "eth0:cp1": "give the interface, eth0",
		strings.Repeat("x", 128): "128 bytes"} {
		if err := CheckDeviceName(name); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%q: %v, want an error that says %q", name, err, say)
		}
	}
	for _, name := range []string{"eth0", "eth0.100", "br-lan", "weird@%$'\"name", "é", "\x1b[31m", "...", "-n"} {
		if err := CheckDeviceName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAnOddNameDoesNotReachTheTerminalRaw(t *testing.T) {
	for name, want := range map[string]string{"eth0": "eth0", "é": "é", "\x1b[31m": `"\x1b[31m"`, "a\xffb": `"a\xffb"`} {
		if got := Printable(name); got != want {
			t.Errorf("Printable(%q) = %s, want %s", name, got, want)
		}
	}
}

func TestASpanNamesAllAddressesInFewWords(t *testing.T) {
	for want, addresses := range map[string][]string{
		"10.0.0.1/24":                           {"10.0.0.1/24"},
		"10.0.0.1/24 to 10.0.0.3/24":            {"10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24"},
		"10.0.0.1/24, 10.0.0.3/24, 10.0.0.4/24": {"10.0.0.1/24", "10.0.0.3/24", "10.0.0.4/24"},
	} {
		var list []Alias
		for _, a := range addresses {
			list = append(list, Alias{Address: netip.MustParsePrefix(a)})
		}
		if got := span(list); got != want {
			t.Errorf("%v is %q, want %q", addresses, got, want)
		}
	}
}
