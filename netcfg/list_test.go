package netcfg

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestAListHasAddressesAndRangesOfBothFamilies(t *testing.T) {
	got, err := FromList([]string{"192.0.2.7/24", "192.0.2.20-192.0.2.22/24", "198.51.100.4/32", "2001:db8::5-2001:db8::6/64"})
	const want = "[192.0.2.7/24 192.0.2.20/24 192.0.2.21/24 192.0.2.22/24 198.51.100.4/32 2001:db8::5/64 2001:db8::6/64]"
	if fmt.Sprint(got) != want || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if families := byFamily(got); len(families) != 2 || len(families[0]) != 5 || len(families[1]) != 2 {
		t.Errorf("%v", families)
	}
	if families := byFamily([]netip.Prefix{netip.MustParsePrefix("2001:db8::5/64")}); len(families) != 1 {
		t.Errorf("%v", families)
	}
}

func TestAListThatMakesNoSenseIsRefusedWithTheElement(t *testing.T) {
	for _, c := range []struct {
		list string
		says string
	}{
		{"", "0 addresses"},
		{"192.0.2.7/24 192.0.2.7/24", "192.0.2.7 is in the list twice"},
		{"192.0.2.5-192.0.2.9/24 192.0.2.7/25", "twice"},
		{"192.0.2.7", `"192.0.2.7": want an address with its prefix length`},
		{"192.0.2.9-192.0.2.7/24", "want a range"},
		{"192.0.2.9-2001:db8::1/24", "want a range"},
		{"192.0.2.7-9/24", "want a range"},
		{"192.0.2.7-192.0.2.9", "prefix length"},
		{"192.0.2.250-192.0.2.255/24", "broadcast"},
		{"10.0.0.1-10.9.0.0/8", "more than 254"},
		{"10.0.0.1-10.0.0.200/8 10.0.1.1-10.0.1.200/8", "400 addresses: want 1 to 254"},
		{"192.0.2.7/24 224.0.0.1/24", `"224.0.0.1/24": 224.0.0.1 is a multicast`},
	} {
		got, err := FromList(strings.Fields(c.list))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, %v", c.list, got, err)
		}
	}
}

func TestOnlyIPv4AliasesOfAListHaveLabels(t *testing.T) {
	wanted, err := FromList([]string{"192.0.2.7/24", "192.0.2.9/24", "2001:db8::5/64"})
	if err != nil {
		t.Fatal(err)
	}
	u := Upped{"eth0", aliasesOf(wanted, "eth0", 3)}
	if text := u.String(); !strings.HasSuffix(text, ", labelled eth0:cp3 to eth0:cp4") {
		t.Error(text)
	}
}
