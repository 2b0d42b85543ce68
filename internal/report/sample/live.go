package sample

import (
	"strconv"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Live is a look at a busy host: nginx before two containers, redis with input that it does not read, haproxy with TIME_WAIT,
// postgres with a process a connection, and a program that never closes. The groups add up to the endpoints.
func Live() *recording.Recording {
	m := &recording.Machine{
		Host:  recording.Host{Kernel: "6.18.5", CPUs: 8, MemoryBytes: 24 << 30, Machine: "x86_64"},
		Cost:  recording.Cost{ProfilerRSSBytes: 46 << 20, BPFMapBytes: 9_437_184, WalkSeconds: 0.031, CPUSeconds: 0.118},
		Hooks: []recording.Hook{{Name: kernel.HookWalk, Function: "tcp", Kind: kernel.KindIterator, Attached: true, Hits: 9_433}},
		Look: &recording.Look{Namespaces: 4, Seconds: 0.312, By: []string{"process"}, Calibration: recording.Calibrated,
			Listeners: liveListeners(), Orphans: 37, OrphansMax: 131_072, TimeWaits: 2_210, TimeWaitsMax: 131_072},
		Notes: []string{"slab caches of one size are merged on this kernel: slabinfo shows inet_bind_bucket and " +
			"inet_bind2_bucket as eventpoll_epi, and eppoll_entry as anon_vma_chain"},
	}
	for _, g := range liveGroups() {
		addGroup(m, g)
	}
	addLiveBooks(m)
	addLiveTop(m)
	r := recordingOf(m)
	r.Kind, r.Command = recording.KindSnapshot, []string{"connprof", "snapshot"}
	return r
}

// Later is the same host an hour on: the program that never closes has gone on, and redis has read its input.
func Later() *recording.Recording {
	r := Live()
	r.Created = r.Created.Add(time.Hour)
	old, m := r.Machines[0], r.Machines[0]
	groups := old.Groups
	m.Groups, m.Endpoints = nil, nil
	for _, g := range groups {
		switch {
		case g.Comm == "leaky" && g.State == "CLOSE_WAIT":
			g.Count += 900
		case g.Comm == "redis-server":
			g.RxBytes, g.BufferBytes, g.UnreadBytes, g.UnreadSockets = 0, g.TxBytes, 0, 0
		case g.Owner == recording.OwnerOrphan:
			continue
		}
		addGroup(m, g)
	}
	addLiveBooks(m)
	return r
}

const (
	netnsHost, netnsA, netnsB = 4026531840, 4026532201, 4026532305
	containerA                = "3f1c9a7be0d24e5f8a6b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5"
	containerB                = "a91be4d7026c4f38b5e1d0c9f8a7b6c5d4e3f2a1b0c9d8e7f60514233241506f"
)

func liveListeners() []recording.Listener {
	return []recording.Listener{
		{Netns: netnsHost, Address: "0.0.0.0:8443", PID: 9120, Comm: "apid", Queue: 128, Backlog: 128},
		{Netns: netnsHost, Address: "0.0.0.0:443", PID: 1811, Comm: "nginx", Queue: 3, Backlog: 511},
		{Netns: netnsA, Address: "10.0.0.2:6379", PID: 2204, Comm: "redis-server", Backlog: 511},
		{Netns: netnsB, Address: "10.0.0.2:6379", PID: 2307, Comm: "redis-server", Backlog: 511},
	}
}

func idle(p50, most float64) *recording.Spread { return &recording.Spread{P50: p50, Max: most} }

// liveGroups are without the slab bytes of their objects.
func liveGroups() []recording.Group {
	process := func(comm string, pid int, uid uint32, unit string) recording.Group {
		return recording.Group{Netns: netnsHost, Owner: recording.OwnerProcess, Comm: comm, PID: pid, UID: uid, Unit: unit,
			Cgroup: "/system.slice/" + unit, Role: kernel.RoleServer, State: "ESTABLISHED"}
	}
	with := func(g recording.Group, change func(*recording.Group)) recording.Group { change(&g); return g }
	var list []recording.Group
	for worker := range 4 {
		g := process("nginx", 1812+worker, 33, "nginx.service")
		g.Listener, g.Count, g.Idle = "0.0.0.0:443", 1_003, idle(41, 74)
		g.TxBytes, g.BufferBytes, g.UnackedSockets, g.UnackedBytes = 1_310_720, 1_310_720, 12, 412_000
		list = append(list, g)
	}
	list = append(list, with(process("nginx", 1811, 33, "nginx.service"), func(g *recording.Group) {
		g.PIDs, g.Role, g.State, g.Listener, g.Count = []int{1811, 1812, 1813, 1814, 1815}, kernel.RoleListener, "LISTEN", "0.0.0.0:443", 2
	}), with(process("leaky", 7301, 1000, "leaky.service"), func(g *recording.Group) {
		g.Listener, g.State, g.Count, g.Idle = "0.0.0.0:9000", "CLOSE_WAIT", 1_740, idle(5_400, 18_060)
	}), with(process("leaky", 7301, 1000, "leaky.service"), func(g *recording.Group) {
		g.Listener, g.Count, g.Idle = "0.0.0.0:9000", 60, idle(2, 9)
	}), with(process("haproxy", 1502, 120, "haproxy.service"), func(g *recording.Group) {
		g.Role, g.Service, g.Count, g.Idle = kernel.RoleClient, "10.0.3.7:8080", 320, idle(0.4, 12)
		g.RxBytes, g.BufferBytes = 262_144, 262_144
	}), with(process("apid", 9120, 1001, "apid.service"), func(g *recording.Group) {
		g.Listener, g.Count, g.Idle = "0.0.0.0:8443", 96, idle(31, 140)
		g.TxBytes, g.BufferBytes, g.UnackedSockets, g.UnackedBytes = 25_165_824, 25_165_824, 96, 20_971_520
	}))
	for backend := range 40 {
		g := process("postgres", 3001+backend, 114, "postgresql@15-main.service")
		g.Listener, g.Count, g.Idle = "127.0.0.1:5432", 1, idle(float64(60*backend), float64(60*backend))
		list = append(list, g)
	}
	for i, id := range []string{containerA, containerB} {
		list = append(list, recording.Group{Netns: []uint32{netnsA, netnsB}[i], Owner: recording.OwnerProcess, Comm: "redis-server",
			PID: []int{2204, 2307}[i], UID: 999, Container: id, Cgroup: "/system.slice/docker-" + id + ".scope",
			Unit: "docker-" + id + ".scope", Role: kernel.RoleServer, State: "ESTABLISHED", Listener: "10.0.0.2:6379", Count: 25 + 175*i,
			RxBytes: 66_060_288 * uint64(i), BufferBytes: 66_060_288 * uint64(i), UnreadSockets: 63 * i, UnreadBytes: 52_428_800 * uint64(i),
			Idle: idle(1, 3)})
	}
	nobody := func(owner recording.OwnerKind, role kernel.Role, state string, count int) recording.Group {
		return recording.Group{Netns: netnsHost, Owner: owner, Role: role, State: state, Count: count}
	}
	return append(list,
		with(nobody(recording.OwnerAcceptQueue, kernel.RoleServer, "ESTABLISHED", 128), func(g *recording.Group) {
			g.Listener, g.RxBytes, g.BufferBytes, g.UnreadSockets, g.UnreadBytes = "0.0.0.0:8443", 163_840, 163_840, 128, 52_480
		}),
		with(nobody(recording.OwnerRequest, kernel.RoleServer, "SYN_RECV", 9), func(g *recording.Group) { g.Listener = "0.0.0.0:8443" }),
		nobody(recording.OwnerTimeWait, kernel.RoleClient, "TIME_WAIT", 2_210),
		with(nobody(recording.OwnerOrphan, kernel.RoleServer, "FIN_WAIT1", 37), func(g *recording.Group) {
			g.TxBytes, g.BufferBytes, g.Idle = 1_515_520, 1_515_520, idle(12, 55)
		}),
		nobody(recording.OwnerInFlight, kernel.RoleClient, "ESTABLISHED", 2))
}

// liveObjects are what the endpoints of a state hold, of the objects of the sample.
func liveObjects(g *recording.Group) []object {
	switch {
	case g.State == "TIME_WAIT":
		return []object{{name: "tcp_timewait_sock", cache: "tw_sock_TCP", objectBytes: 280, pageTenths: 2926, sharedBy: 1}}
	case g.State == "SYN_RECV":
		return []object{{name: "tcp_request_sock", cache: "request_sock_TCP", objectBytes: 320, pageTenths: 3276, sharedBy: 1}}
	case g.Owner == recording.OwnerAcceptQueue || g.Owner == recording.OwnerOrphan:
		return objects[:1]
	}
	return objects[:10]
}

// addGroup gives a group its objects, and adds both to the machine.
func addGroup(m *recording.Machine, g recording.Group) {
	at := -1
	for i := range m.Endpoints {
		if m.Endpoints[i].Role == g.Role && m.Endpoints[i].State == g.State {
			at = i
		}
	}
	if at < 0 {
		at = len(m.Endpoints)
		m.Endpoints = append(m.Endpoints, recording.EndpointRow{Role: g.Role, State: g.State})
	}
	row := &m.Endpoints[at]
	g.ObjectBytes, g.PageBytes = 0, 0
	for _, o := range liveObjects(&g) {
		n := uint64(g.Count)
		g.ObjectBytes += n * o.objectBytes
		g.PageBytes += n * o.pageTenths / 10
		addObject(row, recording.ObjectRow{Type: o.name, Cache: o.cache, Count: g.Count, ObjectBytes: n * o.objectBytes,
			PageBytes: n * o.pageTenths / 10})
	}
	row.Count += g.Count
	row.ObjectBytes += g.ObjectBytes
	row.PageBytes += g.PageBytes
	row.BufferBytes += g.BufferBytes
	m.Groups = append(m.Groups, g)
}

func addObject(row *recording.EndpointRow, o recording.ObjectRow) {
	for i := range row.Objects {
		if old := &row.Objects[i]; old.Type == o.Type {
			old.Count += o.Count
			old.ObjectBytes += o.ObjectBytes
			old.PageBytes += o.PageBytes
			return
		}
	}
	row.Objects = append(row.Objects, o)
}

// addLiveBooks has three sockets that nobody reaches.
func addLiveBooks(m *recording.Machine) {
	full, accounted := 0, uint64(0)
	summed := 0.0
	for _, row := range m.Endpoints {
		accounted += row.PageBytes
		summed += float64(row.BufferBytes) / 4096
		if row.State != "TIME_WAIT" && row.State != "SYN_RECV" {
			full += row.Count
		}
	}
	m.Books = &recording.Books{
		Sockets:  recording.SocketBook{Alloc: full + 3, Walked: full, Unreachable: 3},
		TCPSocks: recording.TCPSockBook{Slabinfo: full + 61, Walked: full},
		Pages: recording.PageBook{Kernel: int64(summed) + 118, Summed: summed, LimitLow: 285_417, LimitPressure: 380_558,
			LimitHigh: 570_834},
		Slab: recording.SlabBook{TotalBytes: 702 << 20, AccountedBytes: accounted},
	}
}

func addLiveTop(m *recording.Machine) {
	for i := range 63 {
		age := 12.0
		m.Top = append(m.Top, recording.TopEndpoint{Role: kernel.RoleServer, State: "ESTABLISHED", Local: "10.0.0.2:6379",
			Remote: "10.0.0.9:" + strconv.Itoa(40_000+i), Netns: netnsB, PID: 2307, Comm: "redis-server", Owner: recording.OwnerProcess,
			Container: containerB, Idle: &age, UnreadBytes: 832_203, ObjectBytes: 3_968, PageBytes: 4_293, BufferBytes: 1_048_576,
			Objects: map[string]int{"tcp_sock": 1, "socket_alloc": 1, "file": 1, "dentry": 1, "sk_buff": 21}})
	}
}
