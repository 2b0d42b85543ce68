package experiment

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/netcfg"
)

// listenersIn are the addresses and ports on which anything listens in a network, each once.
func listenersIn(network *netcfg.Private) (list []netip.AddrPort, err error) {
	err = network.Do(func() error {
		lines, err := listening()
		for _, l := range lines {
			if ip, ok := netip.AddrFromSlice(l.LocalAddr); ok {
				list = append(list, netip.AddrPortFrom(ip, uint16(l.LocalPort)))
			}
		}
		return err
	})
	slices.SortFunc(list, netip.AddrPort.Compare)
	return slices.Compact(list), err
}

// socketLine is a line of /proc/net/tcp.
type socketLine struct {
	LocalAddr net.IP
	LocalPort uint64
	Inode     uint64
}

// listening are the listeners of the calling thread's network namespace.
func listening() ([]socketLine, error) {
	fs, err := procfs.NewFS("/proc/thread-self")
	if err != nil {
		return nil, fmt.Errorf("list the sockets of the run's network: %w (is /proc mounted?)", err)
	}
	four, err := fs.NetTCP()
	if err != nil {
		return nil, fmt.Errorf("list the sockets of the run's network: %w (is /proc mounted?)", err)
	}
	six, _ := fs.NetTCP6() // a kernel without IPv6 has none
	var list []socketLine
	for _, line := range append(four, six...) {
		if line.St == uint64(kernel.StateListen) {
			list = append(list, socketLine{line.LocalAddr, line.LocalPort, line.Inode})
		}
	}
	return list, nil
}

// chooseListener is where a server can be reached that listens on these addresses: on the port, or on the only one where that is
// 0. A server that listens on all addresses is reached at the one given. The error says what is wrong.
func chooseListener(at []netip.AddrPort, port int, any netip.Addr, ipv6 bool) (netip.AddrPort, error) {
	none := netip.AddrPort{}
	switch ports := portsOf(at); {
	case len(at) == 0 && port == 0:
		return none, fmt.Errorf("the server listens on no port")
	case len(at) == 0:
		return none, fmt.Errorf("the server does not listen on port %d", port)
	case port == 0 && len(ports) > 1:
		return none, fmt.Errorf("the server listens on ports %s: say which by --server-port", strings.Join(ports, ", "))
	case port != 0 && !slices.Contains(ports, fmt.Sprint(port)):
		return none, fmt.Errorf("the server listens on port %s and not on %d (--server-port)", strings.Join(ports, ", "), port)
	}
	var others []string
	for _, l := range at {
		if port != 0 && int(l.Port()) != port {
			continue
		}
		ip := l.Addr().Unmap()
		switch {
		case ip.IsUnspecified() && (ip.Is6() || !ipv6): // [::] takes both
			return netip.AddrPortFrom(any, l.Port()), nil
		case ip.Is6() == ipv6:
			return netip.AddrPortFrom(ip, l.Port()), nil
		}
		others = append(others, l.String())
	}
	if ipv6 {
		return none, fmt.Errorf("the server listens on %s alone: leave out --ipv6, or have it listen on [::]", strings.Join(others, ", "))
	}
	return none, fmt.Errorf("the server listens on %s alone: use --ipv6, or have it listen on 0.0.0.0", strings.Join(others, ", "))
}

func portsOf(at []netip.AddrPort) (ports []string) {
	for _, l := range at {
		if p := fmt.Sprint(l.Port()); !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	return ports
}

// acceptQueues are the listening sockets of a server, shared with it (pidfd_getfd(2)).
type acceptQueues struct {
	fds     []int
	backlog int // of the shortest
}

// unknownBacklog is taken where a listener cannot be asked: what most programs ask for at the least.
const unknownBacklog = 128

// findQueues finds the listeners on a port among the files of the server's processes.
func findQueues(pids []int, port uint16, network *netcfg.Private) *acceptQueues {
	q := &acceptQueues{}
	wanted := map[string]bool{}
	_ = network.Do(func() error { // an error is a server that cannot be asked
		lines, err := listening()
		for _, l := range lines {
			if l.LocalPort == uint64(port) {
				wanted[fmt.Sprintf("socket:[%d]", l.Inode)] = true
			}
		}
		return err
	})
	for _, pid := range pids {
		q.take(pid, wanted)
	}
	for _, fd := range q.fds {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO); err == nil {
			if most := int(info.Sacked); q.backlog == 0 || most < q.backlog { // of a listener: sk_max_ack_backlog (tcp_get_info)
				q.backlog = most
			}
		}
	}
	if q.backlog == 0 {
		q.backlog = unknownBacklog
	}
	return q
}

// take shares those of a process's sockets that are wanted, each once.
func (q *acceptQueues) take(pid int, wanted map[string]bool) {
	folder := fmt.Sprintf("/proc/%d/fd/", pid)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	process := -1
	defer func() { _ = unix.Close(process) }()
	for _, entry := range entries {
		link, err := os.Readlink(folder + entry.Name())
		if err != nil || !wanted[link] {
			continue
		}
		var theirs int
		if _, err := fmt.Sscan(entry.Name(), &theirs); err != nil {
			continue
		}
		if process < 0 {
			if process, err = unix.PidfdOpen(pid, 0); err != nil {
				return
			}
		}
		if fd, err := unix.PidfdGetfd(process, theirs, 0); err == nil {
			q.fds = append(q.fds, fd)
			delete(wanted, link)
		}
	}
}

// length is how many connections nobody has accepted.
func (q *acceptQueues) length() (n int) {
	for _, fd := range q.fds {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO); err == nil {
			n += int(info.Unacked) // of a listener: sk_ack_backlog
		}
	}
	return n
}

// close gives the sockets back: one that is open here listens on after its server.
func (q *acceptQueues) close() {
	if q == nil {
		return
	}
	for _, fd := range q.fds {
		_ = unix.Close(fd)
	}
	q.fds = nil
}
