package experiment

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

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

// acceptQueues are the listening sockets of a server. Each look takes them from the server's processes for a moment (pidfd_getfd(2)):
// one that stayed open here would listen on after its process.
type acceptQueues struct {
	server    interface{ Processes() []int }
	inodes    map[uint64]bool // of the listeners
	listeners []listener
	known     map[int]bool // processes that were searched
	searched  time.Time
	backlog   int  // of the shortest
	v6only    bool // no listener takes IPv4
}

// listener is one, as a process of the server has it.
type listener struct {
	inode   uint64
	theirs  int // its number there
	process int // pidfd
}

// unknownBacklog is taken where a listener cannot be asked: what most programs ask for at the least.
const unknownBacklog = 128

// findQueues finds the listeners on a port among the files of the server's processes.
func findQueues(server interface{ Processes() []int }, port uint16, network *netcfg.Private) (*acceptQueues, error) {
	q := &acceptQueues{server: server, inodes: map[uint64]bool{}, known: map[int]bool{}}
	if err := network.Do(func() error {
		lines, err := listening()
		for _, l := range lines {
			if l.LocalPort == uint64(port) {
				q.inodes[l.Inode] = true
			}
		}
		return err
	}); err != nil {
		return nil, err
	}
	q.search()
	q.v6only = len(q.listeners) > 0
	for _, l := range q.listeners {
		_ = l.look(func(fd int, info *unix.TCPInfo) { // one that cannot be asked tells nothing
			// Of a listener tcpi_sacked is sk_max_ack_backlog, and tcpi_unacked sk_ack_backlog (tcp_get_info).
			if most := int(info.Sacked); q.backlog == 0 || most < q.backlog {
				q.backlog = most
			}
			only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
			q.v6only = q.v6only && err == nil && only != 0
		})
	}
	if q.backlog == 0 {
		q.backlog = unknownBacklog
	}
	return q, nil
}

// search looks through the processes of the server that have not been searched yet.
func (q *acceptQueues) search() {
	q.searched = time.Now()
	for _, pid := range q.server.Processes() {
		if !q.known[pid] {
			q.known[pid] = true
			q.searchIn(pid)
		}
	}
}

// searchIn takes note of the listeners that a process has, each socket once.
func (q *acceptQueues) searchIn(pid int) {
	folder := fmt.Sprintf("/proc/%d/fd/", pid)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	process := -1
	for _, entry := range entries {
		var inode uint64
		var theirs int
		link, _ := os.Readlink(folder + entry.Name())
		if n, _ := fmt.Sscanf(link, "socket:[%d]", &inode); n != 1 || !q.inodes[inode] ||
			slices.ContainsFunc(q.listeners, func(l listener) bool { return l.inode == inode }) {
			continue
		}
		if _, err := fmt.Sscan(entry.Name(), &theirs); err != nil {
			continue
		}
		if process < 0 {
			if process, err = unix.PidfdOpen(pid, 0); err != nil {
				return
			}
		}
		q.listeners = append(q.listeners, listener{inode, theirs, process})
	}
}

// look asks the kernel for a listener. It fails where the process, or the socket in it, is gone.
func (l listener) look(tell func(fd int, info *unix.TCPInfo)) error {
	fd, err := unix.PidfdGetfd(l.process, l.theirs, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Ino != l.inode {
		return unix.EBADF // the number is another file's now
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
	if err == nil {
		tell(fd, info)
	}
	return err
}

// searchEvery bounds how often new processes are looked for once a listener is gone.
const searchEvery = time.Second

// length is how many connections nobody has accepted. A listener whose process is gone is looked for in processes that are new.
func (q *acceptQueues) length() (n int) {
	left := q.listeners[:0]
	for _, l := range q.listeners {
		if l.look(func(_ int, info *unix.TCPInfo) { n += int(info.Unacked) }) == nil {
			left = append(left, l)
		}
	}
	lost := len(left) < len(q.inodes)
	q.listeners = left
	if lost && time.Since(q.searched) > searchEvery {
		q.search()
	}
	return n
}
