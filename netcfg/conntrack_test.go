package netcfg

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// A connection over loopback has one entry for both ends.
func TestATrackedNetworkHasAnEntryForEachConnection(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		p := newPrivate(t, Config{ClientAddresses: 1, IPv6: ipv6, Sockets: 100})
		most, err := p.Track()
		if _, without := os.Stat(mostTrackedFile); without != nil { // a kernel without it, or without its module
			if err == nil || !strings.Contains(err.Error(), "leave out --conntrack") {
				t.Errorf("the error of a kernel without connection tracking: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if n, err := p.Tracked(); err != nil || n != 0 || most < 1 {
			t.Fatalf("%d entries of at most %d, %v, want none yet", n, most, err)
		}
		const conns = 25
		var open []net.Conn
		err = p.Do(func() error {
			l, err := net.Listen("tcp", net.JoinHostPort(p.Server.String(), "0"))
			if err != nil {
				return err
			}
			t.Cleanup(func() { l.Close() })
			from := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.Clients[0], 0))}
			for range conns {
				c, err := from.Dial("tcp", l.Addr().String())
				if err != nil {
					return err
				}
				open = append(open, c)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := p.Tracked(); err != nil || n != conns {
			t.Errorf("IPv6 %t: %d entries for %d connections, %v", ipv6, n, len(open), err)
		}
		for _, c := range open {
			c.Close()
		}
	}
}
