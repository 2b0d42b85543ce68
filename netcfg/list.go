package netcfg

import (
	"fmt"
	"net/netip"
	"strings"
)

// FromList is the addresses of a list, in its order, each with the prefix length it was given with. An element is one address, such
// as 192.168.1.7/24, or a range of them, such as 192.168.1.7-192.168.1.9/24. Both families may be in one list. All have to be
// addresses that a host may have, and different ones.
func FromList(elements []string) ([]netip.Prefix, error) {
	var wanted []netip.Prefix
	for _, e := range elements {
		first, n, err := parseRange(e)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", e, err)
		}
		some, err := Consecutive(first, n)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", e, err)
		}
		wanted = append(wanted, some...)
	}
	if len(wanted) < 1 || len(wanted) > MaxAliases {
		return nil, fmt.Errorf("%d addresses: want 1 to %d", len(wanted), MaxAliases)
	}
	seen := map[netip.Addr]bool{}
	for _, p := range wanted {
		if seen[p.Addr()] {
			return nil, fmt.Errorf("%s is in the list twice", p.Addr())
		}
		seen[p.Addr()] = true
	}
	return wanted, nil
}

// parseRange is an element's first address with the prefix length, and how many it stands for.
func parseRange(element string) (first string, n int, err error) {
	from, rest, isRange := strings.Cut(element, "-")
	if !isRange {
		return element, 1, nil
	}
	to, bits, _ := strings.Cut(rest, "/")
	low, errLow := netip.ParseAddr(from)
	high, errHigh := netip.ParseAddr(to)
	if errLow != nil || errHigh != nil || low.BitLen() != high.BitLen() || high.Less(low) {
		return "", 0, fmt.Errorf("want a range with its prefix length, such as 192.168.1.7-192.168.1.9/24")
	}
	for n = 1; low != high; n++ {
		if n == MaxAliases {
			return "", 0, fmt.Errorf("more than %d addresses", MaxAliases)
		}
		low = low.Next()
	}
	return from + "/" + bits, n, nil
}

// byFamily are the addresses of each family, the first one's first.
func byFamily(wanted []netip.Prefix) (families [][]netip.Prefix) {
	for _, is4 := range []bool{wanted[0].Addr().Is4(), !wanted[0].Addr().Is4()} {
		var some []netip.Prefix
		for _, p := range wanted {
			if p.Addr().Is4() == is4 {
				some = append(some, p)
			}
		}
		if len(some) > 0 {
			families = append(families, some)
		}
	}
	return families
}
