package account

import (
	"net/netip"

	"github.com/connprof/connprof/internal/kernel"
)

// listening is the addresses and ports with a listener, IPv4 ones never as IPv6; true where it also takes IPv4.
type listening map[netip.AddrPort]bool

func (l listening) add(e *kernel.Endpoint) {
	at := unmapped(e.Local)
	l[at] = l[at] || at.Addr() == netip.IPv6Unspecified() && !e.V6Only
}

// parent is the listener of what is accepted at the address and port, false where there is none.
func (l listening) parent(at netip.AddrPort) (netip.AddrPort, bool) {
	at = unmapped(at)
	if _, ok := l[at]; ok {
		return at, true
	}
	any4, any6 := netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port()), netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())
	both, ok := l[any6]
	if !at.Addr().Is4() {
		return any6, ok
	}
	if _, ok := l[any4]; ok {
		return any4, true
	}
	return any6, both
}

func unmapped(at netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// Service tells the ledger that a server listens at an address and port, as it is seen in a network namespace. The walk
// finds out by itself which those are that listen in the same namespace.
func (l *Ledger) Service(netns uint32, at netip.AddrPort) {
	l.walk.space(netns).services[unmapped(at)] = true
}

// Role is which end an endpoint is: as the trace saw it opened, else by the marks that its opening left on the sock, else by
// its addresses. Listeners come first in a walk.
func (l *Ledger) Role(e *kernel.Endpoint) kernel.Role {
	o, _ := l.endpoint(e.Sock)
	return l.walk.space(e.Netns).role(e, o)
}

// role takes the surest sign first.
func (s *space) role(e *kernel.Endpoint, o opened) kernel.Role {
	switch {
	case e.State == kernel.StateListen:
		return kernel.RoleListener
	case o.role != kernel.RoleUnknown:
		return o.role
	case e.State == kernel.StateClose:
		return kernel.RoleUnknown // not connected yet, or no longer
	}
	if r := marked(e); r != kernel.RoleUnknown {
		return r
	}
	return s.placed(e)
}

// marked is the role of an endpoint that carries a mark of how it was opened:
//   - Nothing but a handshake on the listening side makes a request sock, or a sock that waits in an accept queue.
//   - Nothing but connect() goes through SYN_SENT.
//   - bind() to a port sets SOCK_BINDPORT_LOCK, which sk_clone_lock() takes from what it makes of a listener.
//   - That keeps the listener's sk_max_ack_backlog, which only listen() sets: kernel.Endpoint.Cloned. A program that ends
//     listening on a socket and connects it has both marks, and so the lock comes first.
//   - Where connect() chooses the port, __inet_hash_connect() says so: in the bucket of the port (fastreuse -1) and, from
//     Linux 6.18 on, in the sock. An accepted sock shares its listener's bucket (__inet_inherit_port()), and bind() makes
//     those with fastreuse >= 0.
//
// A sock in TIME_WAIT keeps no mark but the last one, and that may be another's where it is read from the bucket.
func marked(e *kernel.Endpoint) kernel.Role {
	switch {
	case e.Unaccepted():
		return kernel.RoleServer
	case e.State == kernel.StateSynSent, e.BindLocked:
		return kernel.RoleClient
	case e.Cloned:
		return kernel.RoleServer
	case e.BindByConnect && full(e):
		return kernel.RoleClient
	}
	return kernel.RoleUnknown
}

// placed is the role of an endpoint by its addresses. Where they tell nothing either, a full sock with a peer is a client's:
// it is not made from a listener, so it has called connect(), after bind() to port 0. (One that was accepted from a listener
// with a backlog of 0 looks the same once that is gone.) Of a sock in TIME_WAIT nothing more is known.
func (s *space) placed(e *kernel.Endpoint) kernel.Role {
	if _, ok := s.listening.parent(e.Local); ok {
		return kernel.RoleServer
	}
	if s.serves(e.Remote) || e.BindByConnect || full(e) {
		return kernel.RoleClient
	}
	return kernel.RoleUnknown
}

// serves tells whether a server is known to listen at an address and port.
func (s *space) serves(at netip.AddrPort) bool {
	_, ok := s.listening.parent(at)
	return ok || s.services[unmapped(at)]
}

// full tells whether an endpoint is a whole sock, not what is left of one in TIME_WAIT.
func full(e *kernel.Endpoint) bool { return e.Objects[kernel.TCPSock] > 0 }
