package limits

import (
	"fmt"
	"math/bits"

	"github.com/connprof/connprof/internal/kernel"
)

// effect is what happens at a limit.
type effect int

const (
	stops    effect = iota // no further connection
	slows                  // the connections hold, something else suffers
	queues                 // stops connections that carry data, and slows others
	threaded               // stops servers with one thread a connection, and no others
)

// limit is one row of the table: where a limit is, what connections need of it, and how it is raised.
type limit struct {
	name  string
	where string
	unit  string // "bytes", or empty for a count
	// effect is what happens when the need is not met, consequence the same for people.
	effect      effect
	consequence string
	// carrying is the consequence for connections that are known to carry data, where it is another one.
	carrying string
	read     func(Host) (Reading, error)
	// need is what Reading.Now has to be for the demand; it never falls as Demand.Conns grows. 0 is no need.
	need func(Demand, Reading) uint64
	// slack is added when the limit is raised: its use goes up and down.
	slack uint64
	// sysctl is the name by which --fix sets the limit, with value where that is more than the number needed.
	sysctl string
	value  func(h Host, need uint64) (value string, err error)
	// ceiling is the most that the kernel takes, 0 for any number.
	ceiling uint64
	// command raises what is no sysctl, or no business of --fix. Its text is the answer where nothing raises it.
	command func(d Demand, r Reading, need uint64) string
	// manual says why --fix leaves the limit alone.
	manual string
	// run says that connprof run is bound by it as well.
	run bool
}

// spareDescriptors are for what a process has open besides its connections: standard streams, epoll set, a log.
const spareDescriptors = 16

// descriptors is how many one process needs; the one that accepts has listeners too.
func descriptors(d Demand, _ Reading) uint64 {
	if d.server() {
		return d.Conns + d.Ports + spareDescriptors
	}
	return d.Conns + spareDescriptors
}

// spareThreads are left to the rest of the host.
const spareThreads = 300

// threads is one for each accepted connection. The kernel gives out no process ID below 300 once it has wrapped around
// (RESERVED_PIDS).
func threads(d Demand, r Reading) uint64 {
	if !d.server() {
		return 0
	}
	return d.Conns + r.Used + spareThreads
}

// ownThreads is what a cgroup or a user needs: process IDs are not theirs.
func ownThreads(d Demand, r Reading) uint64 {
	if !d.server() {
		return 0
	}
	return d.Conns + r.Used + spareDescriptors
}

// mappings is two for each thread's stack, and what a program of that kind has besides.
func mappings(d Demand, _ Reading) uint64 {
	if !d.server() {
		return 0
	}
	return 2*d.Conns + 1000
}

// burst is how many connections may be waiting for accept(2): what comes in a tenth of a second at 60,000 connections a
// second, the most that was measured on two cores with both ends (docs/results/endpoint.md).
const burst = 6000

func acceptQueue(d Demand, _ Reading) uint64 {
	if !d.server() {
		return 0
	}
	return min(d.Conns, burst)
}

// memoryNeed leaves the host what MaxAllowPercent leaves it.
func memoryNeed(d Demand, _ Reading) uint64 {
	return (d.memoryBytes()*100 + MaxAllowPercent - 1) / MaxAllowPercent
}

func perTuple(d Demand, _ Reading) uint64 {
	if !d.client() {
		return 0
	}
	tuples := max(d.Addresses*d.Ports, 1)
	return (d.Conns + tuples - 1) / tuples
}

// perAddress is what a program takes of the ports that binds them to an address. To one server port it is no more than others do.
func perAddress(d Demand, _ Reading) uint64 {
	if !d.client() || d.Ports < 2 {
		return 0
	}
	return (d.Conns + d.Addresses - 1) / max(d.Addresses, 1)
}

// oneThread begins what happens to the classic server.
const oneThread = "only a server with one thread a connection meets it: "

// limits is the table. Its order is that of the report: what a client meets first comes first.
var limits = []limit{
	{name: "client ports", where: "net.ipv4.ip_local_port_range", effect: stops,
		consequence: "connect: cannot assign requested address (ports for each client address and server port)",
		read:        readClientPorts, need: perTuple, sysctl: "net.ipv4.ip_local_port_range", value: raisedPorts,
		command: moreAddresses, manual: "no range of ports is large enough"},
	{name: "ports bound first", where: "net.ipv4.ip_local_port_range", effect: slows,
		consequence: "bind: address already in use, for a program that binds its address before connect() without IP_BIND_ADDRESS_NO_PORT: " +
			"it has each port once for all destinations",
		read: readClientPorts, need: perAddress,
		command: func(d Demand, r Reading, _ uint64) string {
			each := max(r.Now, 1)
			return "setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1) before bind(), or " + addressesFor((d.Conns+each-1)/each, 1)
		}},
	{name: "reserved ports", where: "net.ipv4.ip_local_reserved_ports", effect: slows,
		consequence: "taken out of the client ports",
		read:        readReservedPorts, need: noNeed},
	{name: "open files (all)", where: "fs.file-max", effect: stops,
		consequence: "socket, accept: too many open files in system; root (CAP_SYS_ADMIN) is exempt",
		read:        readFileMax, need: func(d Demand, r Reading) uint64 { return d.sockets() + r.Used + spareFiles },
		slack: spareFiles, sysctl: "fs.file-max", run: true},
	{name: "nofile ceiling", where: "fs.nr_open", effect: stops,
		consequence: "setrlimit, prlimit, ulimit -n: operation not permitted",
		read:        sysctl("fs.nr_open"), need: descriptors, sysctl: "fs.nr_open", ceiling: 2147483584},
	{name: "nofile (soft)", where: "RLIMIT_NOFILE, ulimit -Sn", effect: stops,
		consequence: "socket, accept: too many open files (of one process)",
		read:        readSoftFiles, need: descriptors, manual: processOwn,
		command: func(_ Demand, _ Reading, need uint64) string { return fmt.Sprintf("ulimit -Sn %d", need) }},
	{name: "nofile (hard)", where: "RLIMIT_NOFILE, ulimit -Hn", effect: stops,
		consequence: "no process may raise its soft limit beyond; raising it takes CAP_SYS_RESOURCE",
		read:        with(processLimit(ownLimits, openFiles, true), addSysResource), need: descriptors, manual: processOwn,
		command: func(_ Demand, _ Reading, need uint64) string {
			return fmt.Sprintf("prlimit --pid $$ --nofile=%d:%d", need, need)
		}},
	{name: "epoll watches", where: "fs.epoll.max_user_watches", effect: stops,
		consequence: "epoll_ctl: no space left on device (of one user)",
		read:        sysctl("fs.epoll.max_user_watches"), need: func(d Demand, _ Reading) uint64 { return d.sockets() },
		sysctl: "fs.epoll.max_user_watches", run: true},
	{name: "threads (all)", where: "kernel.threads-max", effect: threaded,
		consequence: oneThread + "resource temporarily unavailable",
		read:        with(sysctl("kernel.threads-max"), addThreads), need: threads, slack: 1000,
		sysctl: "kernel.threads-max", ceiling: 0x3fffffff},
	{name: "process IDs", where: "kernel.pid_max", effect: threaded,
		consequence: oneThread + "resource temporarily unavailable",
		read:        with(sysctl("kernel.pid_max"), addThreads), need: threads, slack: 1000,
		sysctl: "kernel.pid_max", ceiling: 4 << 20},
	{name: "mappings", where: "vm.max_map_count", effect: threaded,
		consequence: oneThread + "cannot allocate memory (two for each thread's stack)",
		read:        sysctl("vm.max_map_count"), need: mappings,
		sysctl: "vm.max_map_count", ceiling: 1<<31 - 1},
	{name: "threads (user)", where: "RLIMIT_NPROC, ulimit -u", effect: threaded,
		consequence: oneThread + "resource temporarily unavailable; root is exempt",
		read:        processLimit(ownLimits, processes, false), need: ownThreads, manual: processOwn,
		command: func(_ Demand, _ Reading, need uint64) string { return fmt.Sprintf("ulimit -u %d", need) }},
	{name: "cgroup pids", where: "pids.max", effect: threaded,
		consequence: oneThread + "resource temporarily unavailable",
		read:        readCgroup(pidsCgroup), need: ownThreads, manual: cgroupOwn, command: echoInto},
	{name: "memory", where: "MemAvailable", unit: "bytes", effect: stops, run: true,
		consequence: "the OOM killer; a tenth is left to the host, and a program's own memory comes on top",
		read:        readMemAvailable, need: memoryNeed, manual: "memory is not a setting", command: fewer},
	{name: "memory cgroup", where: "memory.max", unit: "bytes", effect: stops, run: true,
		consequence: "the cgroup's OOM killer; a program's own memory comes on top",
		read:        readCgroup(memoryCgroup), need: func(d Demand, r Reading) uint64 { return d.memoryBytes() + r.Used },
		manual: cgroupOwn, command: echoInto},
	{name: "queued data", where: "net.ipv4.tcp_mem", unit: "bytes", effect: queues,
		consequence: "with a page queued on every end at once, segments are dropped; idle connections need none",
		carrying:    "segments are dropped, and windows close",
		read:        readTCPMem, need: func(d Demand, r Reading) uint64 { return d.bookedBytes() + r.Used }, run: true,
		manual: "it bounds the memory of the whole host", command: largerTCPMem},
	{name: "orphans", where: "net.ipv4.tcp_max_orphans", effect: slows,
		consequence: "when a process ends with all its connections open, those beyond it are reset at once",
		read:        with(sysctl("net.ipv4.tcp_max_orphans"), addOrphans), run: true,
		need:    func(d Demand, r Reading) uint64 { return d.Conns + r.Used },
		command: writeSysctl("net.ipv4.tcp_max_orphans")},
	{name: "TIME_WAIT", where: "net.ipv4.tcp_max_tw_buckets", effect: slows,
		consequence: "sockets closed beyond it skip TIME_WAIT",
		read:        with(sysctl("net.ipv4.tcp_max_tw_buckets"), addTimeWaits),
		need:        func(d Demand, r Reading) uint64 { return d.Conns + r.Used },
		command:     writeSysctl("net.ipv4.tcp_max_tw_buckets")},
	{name: "accept queue", where: "net.core.somaxconn", effect: slows,
		consequence: "connections that arrive faster than accept(2) wait for their SYN to be sent again, after 1 s",
		read:        sysctl("net.core.somaxconn"), need: acceptQueue, command: writeSysctl("net.core.somaxconn")},
	{name: "SYN backlog", where: "net.ipv4.tcp_max_syn_backlog", effect: slows,
		consequence: "SYNs are dropped when the last quarter is reached",
		read:        with(sysctl("net.ipv4.tcp_max_syn_backlog"), addSyncookies), need: acceptQueue,
		command: writeSysctl("net.ipv4.tcp_max_syn_backlog")},
	{name: "established hash", where: "net.ipv4.tcp_ehash_entries", effect: slows,
		consequence: "each packet searches a longer chain: 8 sockets a bucket made 1,000,000 connections 16 % slower",
		read:        readEstablishedHash, need: hashNeed, command: largerHash},
	{name: "bind hash", where: "boot: TCP bind hash table", effect: slows, run: true,
		consequence: "each connect() searches a longer chain of bound addresses and ports",
		read:        readBindHash, need: bindNeed,
		command: func(Demand, Reading, uint64) string {
			return "nothing: the kernel makes no more than 65,536 buckets"
		}},
	{name: "conntrack", where: "net.netfilter.nf_conntrack_max", effect: stops,
		consequence: "connect: connection timed out; the kernel's log: nf_conntrack: table full, dropping packet",
		read:        readConntrack, need: func(d Demand, r Reading) uint64 { return d.Conns + r.Used }, slack: 10_000,
		sysctl: "net.netfilter.nf_conntrack_max", ceiling: 1<<31 - 1},
	{name: "neighbour table", where: "net.ipv4.neigh.default.gc_thresh3", effect: stops,
		consequence: "connect: connection timed out; the kernel's log: neighbor table overflow",
		read:        with(sysctl("net.ipv4.neigh.default.gc_thresh3"), addNeighbours), need: neighbourNeed, slack: 1000,
		sysctl: "net.ipv4.neigh.default.gc_thresh3", ceiling: 1<<31 - 1},
}

// What --fix leaves alone, and why.
const (
	processOwn = "it belongs to a process and ends with it: run the command in the shell that starts yours"
	cgroupOwn  = "it was set for this cgroup on purpose, by whoever made it"
)

func noNeed(Demand, Reading) uint64 { return 0 }

// hashNeed is a bucket for each socket, and as many as a power of two; the kernel makes up to 16 Mi at run time.
func hashNeed(d Demand, _ Reading) uint64 { return min(powerOfTwo(d.sockets()), 16<<20) }

// bindNeed is a bucket for each client address and port.
func bindNeed(d Demand, _ Reading) uint64 {
	if !d.client() {
		return 0
	}
	return (d.Conns + d.Ports - 1) / max(d.Ports, 1)
}

// neighbourNeed is an entry for each peer on the same link: the clients' addresses as seen by a server, the server as
// seen by a client. Both ends here meet over lo, which needs none.
func neighbourNeed(d Demand, r Reading) uint64 {
	switch d.Role {
	case kernel.RoleServer:
		return min(d.Conns, d.Addresses) + r.Used
	case kernel.RoleClient:
		return min(d.Conns, 1) + r.Used
	}
	return 0
}

func powerOfTwo(n uint64) uint64 { return 1 << bits.Len64(max(n, 1)-1) }

func raisedPorts(h Host, need uint64) (string, error) {
	p, err := readPorts(h)
	if err != nil {
		return "", err
	}
	value, ok := p.raised(need)
	if !ok {
		return "", fmt.Errorf("all %d ports above %d that are not reserved are not enough", p.most(), p.floor-1)
	}
	return value, nil
}

// moreAddresses is the way out where no range of ports is enough: about 64,000 fit into one.
func moreAddresses(d Demand, _ Reading, _ uint64) string {
	const fits = 64_000
	return "more client addresses: " + addressesFor((d.Conns+fits-1)/fits, d.Ports)
}

// addressesFor is the flag for so many pairs of client address and server port.
func addressesFor(tuples, ports uint64) string {
	return fmt.Sprintf("--ips %d", (tuples+ports-1)/max(ports, 1))
}

func fewer(d Demand, r Reading, _ uint64) string {
	one := d
	one.Conns = 1
	return fmt.Sprintf("--conns %d, or more memory", r.Now/100*MaxAllowPercent/max(one.memoryBytes(), 1))
}

func echoInto(_ Demand, r Reading, need uint64) string {
	return fmt.Sprintf("echo %d > %s", need, r.Where)
}

// largerTCPMem has the ratios that the kernel begins with (tcp_init_mem): what is needed stays below the pressure.
func largerTCPMem(_ Demand, _ Reading, need uint64) string {
	pages := (need + pageBytes - 1) / pageBytes
	return fmt.Sprintf("sysctl -w net.ipv4.tcp_mem='%d %d %d'", pages*3/4, pages, pages*3/2)
}

func writeSysctl(name string) func(Demand, Reading, uint64) string {
	return func(_ Demand, _ Reading, need uint64) string { return fmt.Sprintf("sysctl -w %s=%d", name, need) }
}

// largerHash: the first namespace's hash is made at boot, that of another one when it is made (d1e5e6408b30, 6.1).
func largerHash(_ Demand, _ Reading, need uint64) string {
	return fmt.Sprintf("boot with thash_entries=%d, or sysctl -w net.ipv4.tcp_child_ehash_entries=%d; unshare --net", need, need)
}
