package limits

import (
	"net"
	"testing"
)

func TestAddressesThatConnectionsCanComeFrom(t *testing.T) {
	for _, test := range []struct {
		list []string
		want uint64
	}{
		{nil, 1},
		{[]string{"127.0.0.1/8", "::1/128", "fe80::1/64", "169.254.3.4/16"}, 1},
		{[]string{"127.0.0.1/8", "192.0.2.7/24", "fe80::1/64"}, 1},
		{[]string{"192.0.2.7/24", "192.0.2.8/24", "2001:db8::1/64"}, 2},
		{[]string{"192.0.2.7/24", "2001:db8::1/64", "2001:db8::2/64", "2001:db8::3/64"}, 3},
	} {
		var list []net.Addr
		for _, text := range test.list {
			ip, network, err := net.ParseCIDR(text)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, &net.IPNet{IP: ip, Mask: network.Mask})
		}
		if got := clientAddresses(list); got != test.want {
			t.Errorf("%v: %d", test.list, got)
		}
	}
}
