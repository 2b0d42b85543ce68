package netcfg

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Own is the network namespace that this process is in, taken as it is: nothing in it is changed. Server and Clients are
// empty.
func Own() (*Private, error) {
	p := &Private{work: make(chan func()), closed: make(chan struct{})}
	ready := make(chan error, 1)
	go p.live(ready, func() error {
		var st unix.Stat_t
		if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
			return fmt.Errorf("stat /proc/thread-self/ns/net: %w (is /proc mounted?)", err)
		}
		p.inode = uint32(st.Ino)
		return nil
	})
	return p, <-ready
}

// AliasesTo are the addresses of the journal that are there and can be used to reach a host, in the journal's order.
func AliasesTo(journal string, to netip.Addr) ([]netip.Addr, error) {
	list, err := List(journal, "")
	if err != nil {
		return nil, err
	}
	var usable []netip.Addr
	for _, l := range list {
		if a := l.Address.Addr(); l.State == there && a.Is4() == to.Is4() && leadsTo(a, to) {
			usable = append(usable, a)
		}
	}
	return usable, nil
}

// leadsTo tells whether the kernel has a way from one address to another. No packet leaves.
func leadsTo(from, to netip.Addr) bool {
	c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)),
		net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
