package live

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/loader"
)

// flow is where clients' connections go to, or where servers' come in: without an address then.
type flow struct {
	netns uint32
	role  kernel.Role
	at    netip.AddrPort
}

// flows is how many connections are open that were opened meanwhile.
type flows map[flow]int

// count notes a connection of the walk.
func (f flows) count(e *kernel.Endpoint, role kernel.Role) {
	at := netip.AddrPortFrom(netip.Addr{}, e.Local.Port())
	if role == kernel.RoleClient {
		at = netip.AddrPortFrom(e.Remote.Addr().Unmap(), e.Remote.Port())
	}
	f[flow{e.Netns, role, at}]++
}

const mostChurn = 200

// churn lists where connections went to and what they came in at, most opened first.
func (f flows) churn(probes *loader.Probes) ([]recording.Churn, error) {
	list := []recording.Churn{}
	add := func(at flow, address string, opened, failed uint64) {
		open := f[at]
		list = append(list, recording.Churn{Netns: at.netns, Role: at.role, Address: address, Opened: int(opened), Failed: int(failed),
			Live: open, Closed: max(int(opened)-open, 0)})
	}
	services, err := probes.Services()
	if err != nil {
		return list, err
	}
	for _, s := range services {
		add(flow{s.Netns, kernel.RoleClient, s.Address}, s.Address.String(), s.Opened, s.Failed)
	}
	err = probes.Openers(func(id kernel.OpenerID, c *kernel.OpenerCounts) {
		if netns, port, is := id.Listener(); is {
			add(flow{netns, kernel.RoleServer, netip.AddrPortFrom(netip.Addr{}, port)}, "*:"+strconv.Itoa(int(port)), c.Arrived, 0)
		}
	})
	slices.SortFunc(list, func(a, b recording.Churn) int {
		return cmp.Or(cmp.Compare(b.Opened, a.Opened), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Netns, b.Netns),
			cmp.Compare(a.Role, b.Role))
	})
	return foldChurn(list), err
}

// foldChurn keeps the first rows, and makes one of the rest.
func foldChurn(list []recording.Churn) []recording.Churn {
	if len(list) <= mostChurn {
		return list
	}
	rest := recording.Churn{Address: recording.Other}
	for _, c := range list[mostChurn:] {
		rest.Opened += c.Opened
		rest.Closed += c.Closed
		rest.Failed += c.Failed
		rest.Live += c.Live
	}
	return append(list[:mostChurn], rest)
}
