package load

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/sockfilter"
)

// Between two machines an engine is one end alone, in a network that it shares with the host's other programs: it takes
// no port that is reserved or in use, lets nobody in but the announced addresses, and leaves nothing behind in TIME_WAIT.
// What the other end knows comes from outside, by Tell.

// BetweenScenarios are the scenarios whose ends can be on different machines. Those that are left out hold the server's
// handshakes back, do not accept, fill the hosts' own buffers, close sockets on their own, or have no connection at all.
var BetweenScenarios = []string{"idle", "hello", "unread", "unread-client", "sendfile", "half-closed"}

func (c Config) checkEnd() error {
	switch {
	case c.End != kernel.RoleBoth && c.End != kernel.RoleClient && c.End != kernel.RoleServer:
		return fmt.Errorf("a load has no end %q", c.End)
	case c.Served && (c.End != kernel.RoleBoth || c.ThreadPerConnection):
		return fmt.Errorf("a program of somebody else's accepts as it does, and in this network")
	case c.End != kernel.RoleBoth && c.ThreadPerConnection:
		return fmt.Errorf("a server with one thread a connection is for both ends on one host")
	}
	return nil
}

// Tell enters what the other end has said of its progress. It does nothing where both ends are here.
func (e *Engine) Tell(p Progress) {
	switch {
	case e.end == kernel.RoleClient, e.served:
		e.shared.accepted.Store(int64(p.Accepted))
	case e.end == kernel.RoleServer:
		e.shared.attempted.Store(int64(p.Attempted))
		e.shared.established.Store(int64(p.Established))
		e.shared.failed.Store(int64(p.Failed))
	}
}

// PortsInUse is how often the connecting end met a local port in use, and took another.
func (e *Engine) PortsInUse() int { return int(e.shared.inUse.Load()) }

// Strangers is how many connections came from an address that was not announced, and were closed at once.
func (e *Engine) Strangers() int { return int(e.shared.strangers.Load()) }

// CloseOnPurpose says that ends which close are no losses from now on.
func (e *Engine) CloseOnPurpose() { e.shared.closing.Store(1) }

// closeByReset has a socket end by a reset however its process ends: otherwise those that are closed first stay in TIME_WAIT
// for a minute, and their ports with them, on a network that is not the engine's own. What a listener accepts inherits it.
func closeByReset(fd int) error {
	return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// HostPorts are the local ports that programs of this host may connect from: net.ipv4.ip_local_port_range, without
// net.ipv4.ip_local_reserved_ports. Both are the calling thread's network namespace's.
func HostPorts() ([]uint16, error) {
	var low, high int
	text, err := readSysctl("ip_local_port_range")
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Sscan(text, &low, &high); err != nil || low < 1 || high > 65535 {
		return nil, fmt.Errorf("parse net.ipv4.ip_local_port_range: %q is no range of ports", text)
	}
	reserved, err := readSysctl("ip_local_reserved_ports")
	if err != nil {
		return nil, err
	}
	taken, err := parsePorts(reserved)
	if err != nil {
		return nil, err
	}
	var ports []uint16
	for p := low; p <= high; p++ {
		if !taken[p] {
			ports = append(ports, uint16(p))
		}
	}
	return ports, nil
}

func readSysctl(name string) (string, error) {
	b, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
	if err != nil {
		return "", fmt.Errorf("read net.ipv4.%s: %w (is /proc mounted?)", name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// parsePorts reads a list such as 8080,9000-9010.
func parsePorts(list string) (map[int]bool, error) {
	ports := map[int]bool{}
	for _, part := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("parse net.ipv4.ip_local_reserved_ports: %q is no range of ports", part)
		}
		for p := from; p <= to; p++ {
			ports[int(p)] = true
		}
	}
	return ports, nil
}

// clientTuples are those with the ports that the connecting end may have. Those that some socket of the host has, even one in
// TIME_WAIT, come last: the kernel has a bind bucket for them, and does not allocate another.
func clientTuples(c Config) (tuples, error) {
	if c.End != kernel.RoleClient {
		return newTuples(c), nil
	}
	ports, err := HostPorts()
	if err != nil {
		return tuples{}, err
	}
	used, err := usedPorts()
	if err != nil {
		return tuples{}, err
	}
	slices.SortStableFunc(ports, func(a, b uint16) int { return used[a] - used[b] })
	return tuples{addresses: len(c.Clients), ports: len(c.Ports), local: ports}, nil
}

// usedPorts has a 1 for each local port of a TCP socket in the calling thread's network namespace, in whatever state.
func usedPorts() (*[1 << 16]int, error) {
	var used [1 << 16]int
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open("/proc/thread-self/net/" + name)
		if name == "tcp6" && errors.Is(err, fs.ErrNotExist) {
			break // the kernel has no IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("list the host's TCP sockets: %w (is /proc mounted?)", err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Scan() // the heading
		for lines.Scan() {
			// "   0: 0100007F:1F90 00000000:0000 0A ...": address and port, in hexadecimal
			fields := strings.Fields(lines.Text())
			if len(fields) < 2 {
				continue
			}
			_, port, _ := strings.Cut(fields[1], ":")
			n, err := strconv.ParseUint(port, 16, 16)
			if err != nil {
				return nil, fmt.Errorf("parse %s: %q is no address and port", f.Name(), fields[1])
			}
			used[n] = 1
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", f.Name(), err)
		}
	}
	return &used, nil
}

// spares are the local ports that no connection needs: they stand in for those that somebody else has.
type spares struct {
	ports []uint16
	next  atomic.Int64
}

// take gives out a port that nobody has had.
func (s *spares) take() (uint16, bool) {
	i := s.next.Add(1) - 1
	if i >= int64(len(s.ports)) {
		return 0, false
	}
	return s.ports[i], true
}

// sparePorts are those beyond what so many connections take.
func (p tuples) sparePorts(connections int) []uint16 {
	each := p.addresses * p.ports
	return p.local[min((connections+each-1)/each, len(p.local)):]
}

// portTaken tells whether a connection failed because somebody else has its local port.
func portTaken(err error) bool { return err == unix.EADDRINUSE || err == unix.EADDRNOTAVAIL }

// mostSpares bounds how many ports one connection tries.
const mostSpares = 100

// dialSpare tries a connection whose port is taken with others.
func (cs *clientShard) dialSpare(i, fd int, at step, err error) (int, step, error) {
	c := cs.client
	for range mostSpares {
		if c.config.End != kernel.RoleClient || !portTaken(err) {
			break
		}
		local, ok := c.spares.take()
		if !ok {
			break
		}
		c.shared.inUse.Add(1)
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		address, port, _ := c.tuples.tuple(i)
		fd, at, err = cs.dial(address, port, local)
	}
	return fd, at, err
}

// window is how many connections may be on their way before the accepting end has them.
func (c *client) window() int64 { return int64(c.config.Backlog) / 4 }

// batch is after how many connections a shard looks at the window.
func (c *client) batch() int { return int(min(64, max(1, c.window()/8))) }

// gate lets in the announced addresses and nobody else.
type gate struct {
	listeners []bpf.Instruction
	allowed   map[netip.Addr]bool
}

func newGate(c Config) *gate {
	if c.End != kernel.RoleServer {
		return nil
	}
	g := &gate{listeners: gateFilter(c.Clients), allowed: map[netip.Addr]bool{}}
	for _, a := range c.Clients {
		g.allowed[a] = true
	}
	return g
}

// guard has the kernel drop what comes from anybody else before it reaches a listener: not even a handshake is answered.
// What is accepted ends by resets.
func (g *gate) guard(listener int) error {
	if g == nil {
		return nil
	}
	if err := sockfilter.Attach(listener, g.listeners); err != nil {
		return g.refused(err)
	}
	if err := closeByReset(listener); err != nil {
		return fmt.Errorf("set SO_LINGER: %w", err)
	}
	return nil
}

// refused says why the kernel does not take the filter. It has room for all addresses that netup can add at once.
func (g *gate) refused(err error) error {
	if err != unix.ENOMEM {
		return fmt.Errorf("attach a socket filter: %w", err)
	}
	return fmt.Errorf("attach a socket filter for %d addresses: %w; let the run take fewer, or consecutive ones, or raise "+
		"net.core.optmem_max on the accepting host", len(g.allowed), err)
}

// admits looks at an accepted connection again, and takes off the filter that it has inherited, which the kernel would
// charge to each.
func (g *gate) admits(fd int) bool {
	if g == nil {
		return true
	}
	from, err := unix.Getpeername(fd)
	if err != nil {
		return false
	}
	var a netip.Addr
	switch s := from.(type) {
	case *unix.SockaddrInet4:
		a = netip.AddrFrom4(s.Addr)
	case *unix.SockaddrInet6:
		a = netip.AddrFrom16(s.Addr).Unmap()
	}
	return g.allowed[a] && unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) == nil
}
