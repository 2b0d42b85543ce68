package load

import "golang.org/x/sys/unix"

// tuples numbers the connections and gives each its four-tuple. Addresses vary fastest, then server ports, then
// client ports: every address gets its share, and a client port is used by all before the next one is begun.
type tuples struct {
	addresses int
	ports     int
	local     []uint16 // client ports, without the listeners' own
}

func newTuples(c Config) tuples {
	taken := map[int]bool{}
	for _, p := range c.Ports {
		taken[int(p)] = true
	}
	s, _ := FindScenario(c.Scenario)
	p := tuples{addresses: len(c.Clients), ports: s.services(len(c.Ports))}
	for port := FirstClientPort; port < 1<<16; port++ {
		if !taken[port] {
			p.local = append(p.local, uint16(port))
		}
	}
	return p
}

// tuple gives connection i's client address, server port (both by index) and client port.
func (p tuples) tuple(i int) (address, port int, local uint16) {
	rest := i / p.addresses
	return i % p.addresses, rest % p.ports, p.local[rest/p.ports]
}

// sockaddrs builds the socket addresses once; only the ports change between calls.
type sockaddrs struct {
	v6      bool
	clients []unix.Sockaddr
	servers []unix.Sockaddr // by server port
}

func newSockaddrs(c Config) sockaddrs {
	s := sockaddrs{v6: c.Server.Is6()}
	for _, a := range c.Clients {
		s.clients = append(s.clients, sockaddr(a.AsSlice(), 0))
	}
	for _, p := range c.Ports {
		s.servers = append(s.servers, sockaddr(c.Server.AsSlice(), p))
	}
	return s
}

func sockaddr(ip []byte, port uint16) unix.Sockaddr {
	if len(ip) == 4 {
		return &unix.SockaddrInet4{Port: int(port), Addr: [4]byte(ip)}
	}
	return &unix.SockaddrInet6{Port: int(port), Addr: [16]byte(ip)}
}

// client is the address to bind to, with port (0: the kernel's choice at connect).
func (s sockaddrs) client(i int, port uint16) unix.Sockaddr {
	switch a := s.clients[i].(type) {
	case *unix.SockaddrInet4:
		a.Port = int(port)
	case *unix.SockaddrInet6:
		a.Port = int(port)
	}
	return s.clients[i]
}

func (s sockaddrs) family() int {
	if s.v6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}
