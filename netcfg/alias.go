package netcfg

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// MaxAliases is how many aliases one Up adds at most: as many as a run has client addresses.
const MaxAliases = MaxClientAddresses

// Alias is one address that Up adds to an interface.
type Alias struct {
	Address netip.Prefix `json:"address"`         // with the prefix length it is added with
	Label   string       `json:"label,omitempty"` // DEV:cpN, at most 15 bytes; none for IPv6, which has no labels
}

// shortestPrefix keeps the route that comes with an address from swallowing the host's others.
var shortestPrefix = map[int]int{32: 8, 128: 16}

// unfitAddresses are those that no host may have. Neither kind begins or ends within a prefix of the shortest length.
var unfitAddresses = []struct {
	is  func(netip.Addr) bool
	why string
}{
	{netip.Addr.Is4In6, "is an IPv4 address in IPv6's clothes; write it as IPv4"},
	{netip.Addr.IsMulticast, "is a multicast address"},
	{netip.Addr.IsLoopback, "is a loopback address"},
	{func(a netip.Addr) bool { return a.Is4() && a.As4()[0] == 0 }, `is in 0.0.0.0/8, which means "this host"`},
	{func(a netip.Addr) bool { return a.Is4() && a.As4()[0] >= 240 }, "is in 240.0.0.0/4, which is reserved"},
}

// Consecutive is the n consecutive addresses that begin with cidr's, an address with its prefix length such as
// 192.168.1.200/24, each with that prefix length. All have to be addresses that a host in that subnet may have. It looks
// at nothing but its arguments.
func Consecutive(cidr string, n int) ([]netip.Prefix, error) {
	first, err := netip.ParsePrefix(cidr)
	if err != nil {
		return nil, errors.New("want an address with its prefix length, such as 192.168.1.200/24 or 2001:db8::200/64")
	}
	if n < 1 || n > MaxAliases {
		return nil, fmt.Errorf("%d addresses: want 1 to %d", n, MaxAliases)
	}
	for _, unfit := range unfitAddresses {
		if unfit.is(first.Addr()) {
			return nil, fmt.Errorf("%s %s; give a free address of your network", first.Addr(), unfit.why)
		}
	}
	if shortest := shortestPrefix[first.Addr().BitLen()]; first.Bits() < shortest {
		return nil, fmt.Errorf("/%d would route a good part of all addresses to the interface; give the prefix length of "+
			"your network, at least /%d", first.Bits(), shortest)
	}
	return consecutive(first, n)
}

func consecutive(first netip.Prefix, n int) ([]netip.Prefix, error) {
	var wanted []netip.Prefix
	for a := first.Addr(); len(wanted) < n; a = a.Next() {
		if !first.Contains(a) {
			return nil, fmt.Errorf("%d addresses do not fit: %s ends after %d; ask for fewer, begin at a lower address, "+
				"or give a shorter prefix", n, first, len(wanted))
		}
		wanted = append(wanted, netip.PrefixFrom(a, first.Bits()))
	}
	for _, p := range wanted {
		if why := reserved(p); why != "" {
			return nil, fmt.Errorf("%s is the %s of %s; choose addresses without it", p.Addr(), why, p.Masked())
		}
	}
	return wanted, nil
}

// reserved says which of its subnet's reserved addresses an address is. Subnets of two addresses or one have none
// (RFC 3021, RFC 6164).
func reserved(p netip.Prefix) string {
	a, hostBits := p.Addr(), p.Addr().BitLen()-p.Bits()
	switch {
	case hostBits <= 1:
		return ""
	case a == p.Masked().Addr() && a.Is4():
		return "network address"
	case a == p.Masked().Addr():
		return "subnet-router anycast address" // RFC 4291, 2.6.1
	case a.Is4() && !p.Contains(a.Next()):
		return "broadcast address"
	}
	return ""
}

// label names the nth alias of an interface for `ip addr`. A name that leaves no room is cut, as the kernel cuts it when
// an interface is renamed (inetdev_changename).
func label(device string, n int) string {
	tail := ":cp" + strconv.Itoa(n)
	keep := min(len(device), unix.IFNAMSIZ-1-len(tail))
	for keep < len(device) && keep > 0 && !utf8.RuneStart(device[keep]) {
		keep--
	}
	return device[:keep] + tail
}

// tail is what a rename of the interface leaves of a label.
func tail(label string) string {
	_, after, _ := strings.Cut(label, ":")
	return after
}

// CheckDeviceName refuses what no interface can be called (dev_valid_name in the kernel's net/core/dev.c).
func CheckDeviceName(name string) error {
	device, _, hasColon := strings.Cut(name, ":")
	switch {
	case name == "":
		return errors.New("want the name of an interface; ip link lists them")
	case hasColon && device != "":
		return fmt.Errorf("%s is the label of an alias; give the interface, %s", Printable(name), Printable(device))
	case name == "." || name == ".." || strings.ContainsAny(name, "/:") || strings.ContainsFunc(name, unicode.IsSpace):
		return fmt.Errorf("no interface can have the name %q; ip link lists those there are", name)
	case len(name) >= altNameSize:
		return fmt.Errorf("no interface can have a name of %d bytes; ip link lists those there are", len(name))
	}
	return nil
}

// altNameSize is the kernel's ALTIFNAMSIZ: alternative names may be longer than names.
const altNameSize = 128

// Printable is an interface's name as a terminal can show it: the kernel allows control characters in names.
func Printable(name string) string {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return strconv.Quote(name)
	}
	return name
}

// span is a list of aliases in few words.
func span(list []Alias) string {
	var texts []string
	for i, a := range list {
		if i > 0 && a.Address.Addr() != list[i-1].Address.Addr().Next() {
			for _, a := range list {
				texts = append(texts, a.Address.String())
			}
			return strings.Join(texts, ", ")
		}
	}
	if len(list) == 1 {
		return list[0].Address.String()
	}
	return list[0].Address.String() + " to " + list[len(list)-1].Address.String()
}

// counted is "1 address", "20 addresses".
func counted(n int) string {
	if n == 1 {
		return "1 address"
	}
	return strconv.Itoa(n) + " addresses"
}
