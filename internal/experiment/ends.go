package experiment

import (
	"net/netip"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/loader"
	"github.com/connprof/connprof/netcfg"
)

// Ends is where the ends of the connections are. With both on this host they are in a network of their own. With one on
// another machine the network is the host's, and other programs use it as well.
type Ends struct {
	Here    kernel.Role // RoleBoth, or the only one that is made on this host
	Server  netip.Addr
	Clients []netip.Addr
	Ports   []uint16 // of the server, consecutive
	Backlog int      // of each port
	// Served says that the server is a program of the user's.
	Served bool
	// OneKernel says that the end which is elsewhere is in another network namespace of this very kernel.
	OneKernel bool
	// Most is how many connections are wanted where none was asked for here, for the reason Why; 0 for no bound.
	Most int
	Why  string
	// Promised is how many connections others on this host have been promised.
	Promised int

	known map[netip.Addr]bool
}

// BothHere are ends in a network of their own.
func BothHere() *Ends { return &Ends{Here: kernel.RoleBoth, Backlog: netcfg.Backlog} }

// private tells whether nobody else uses the network.
func (e *Ends) private() bool { return e.Here == kernel.RoleBoth }

// Elsewhere tells whether a role's end is on another machine.
func (e *Ends) Elsewhere(role kernel.Role) bool { return !e.private() && e.Here != role }

// inKernel is how many ends of each connection are in this kernel's memory.
func (e *Ends) inKernel() int {
	if e.private() || e.OneKernel {
		return 2
	}
	return 1
}

// inProcesses is how many load processes there are here, one an end.
func (e *Ends) inProcesses() int {
	if e.private() {
		return 2
	}
	return 1
}

// share is the part of what a connection costs that is due here.
func (e *Ends) share(bytes uint64) uint64 {
	if e.private() {
		return bytes
	}
	return bytes / 2
}

// SetClients notes the addresses that the connections come from.
func (e *Ends) SetClients(clients []netip.Addr) {
	e.Clients, e.known = clients, map[netip.Addr]bool{}
	for _, a := range clients {
		e.known[a] = true
	}
}

// SetPorts notes the server's ports.
func (e *Ends) SetPorts(first, n int) {
	e.Ports = nil
	for i := range n {
		e.Ports = append(e.Ports, uint16(first+i))
	}
}

// loadConfig fills in what the load has to know of the ends.
func (e *Ends) loadConfig(c load.Config) load.Config {
	c.End, c.Clients, c.Server, c.Ports, c.Backlog = e.Here, e.Clients, e.Server, e.Ports, e.Backlog
	c.Served = e.Served
	if e.Here == kernel.RoleClient {
		c.Backlog = min(e.Backlog*len(e.Ports), netcfg.Backlog) // the window is over all ports
	}
	return c
}

// services are where the server listens.
func (e *Ends) services() (list []netip.AddrPort) {
	for _, port := range e.Ports {
		list = append(list, netip.AddrPortFrom(e.Server, port))
	}
	return list
}

// probed is which endpoints the probes are to count.
func (e *Ends) probed() loader.Ports {
	if e.private() {
		return loader.Ports{}
	}
	p := loader.Ports{Side: loader.RemotePorts, Low: e.Ports[0], High: e.Ports[len(e.Ports)-1]}
	if e.Here == kernel.RoleServer {
		p.Side = loader.LocalPorts
	}
	return p
}

// owns tells the endpoints of the run from all others in the namespace.
func (e *Ends) owns(s *kernel.Endpoint) bool {
	if e.private() {
		return true
	}
	near, far := s.Local, s.Remote
	if e.Here == kernel.RoleClient {
		near, far = far, near
	}
	if near.Addr().Unmap() != e.Server || near.Port() < e.Ports[0] || near.Port() > e.Ports[len(e.Ports)-1] {
		return false
	}
	if s.State == kernel.StateListen {
		return e.Here == kernel.RoleServer
	}
	return e.known[far.Addr().Unmap()]
}
