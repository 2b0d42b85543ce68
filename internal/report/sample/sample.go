// Package sample has made-up recordings for the tests of reports: realistic figures, in which every sum is known.
package sample

import (
	"strconv"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// New is a realistic recording of 20,000 connections on a kernel without kprobes.
func New() *recording.Recording { return Of(20_000) }

// object is one object type an endpoint holds, in the figures of a 6.18 kernel.
type object struct {
	name, cache    string
	objectBytes    uint64
	pageTenths     uint64 // page bytes an endpoint, in tenths, times sharedBy
	sharedBy       int
	client, server string // the call path, as a key of the path tables; empty when that end has none
}

const (
	syscall  = "entry_SYSCALL_64_after_hwframe;do_syscall_64;"
	socketOp = syscall + "__x64_sys_socket;__sys_socket;"
	acceptOp = syscall + "__x64_sys_accept4;__sys_accept4;__sys_accept4_file;do_accept;"
	connect  = syscall + "__x64_sys_connect;__sys_connect;__sys_connect_file;inet_stream_connect;" +
		"__inet_stream_connect;tcp_v4_connect;"
	epollAdd = syscall + "__x64_sys_epoll_ctl;do_epoll_ctl;ep_insert;"
	receive  = "handle_softirqs;net_rx_action;__napi_poll;process_backlog;__netif_receive_skb_one_core;ip_rcv;" +
		"ip_local_deliver;ip_local_deliver_finish;ip_protocol_deliver_rcu;tcp_v4_rcv;tcp_check_req;" +
		"tcp_v4_syn_recv_sock;tcp_create_openreq_child;inet_csk_clone_lock;sk_clone_lock;sk_prot_alloc;" + alloc
	transmit = "tcp_connect;__tcp_transmit_skb;__ip_queue_xmit;ip_local_out;ip_output;ip_finish_output2;" +
		"__dev_queue_xmit;__local_bh_enable_ip;do_softirq;"
	ksoftirqd = "ret_from_fork_asm;ret_from_fork;kthread;smpboot_thread_fn;run_ksoftirqd;"
	interrupt = "asm_sysvec_apic_timer_interrupt;sysvec_apic_timer_interrupt;__irq_exit_rcu;"
	alloc     = "kmem_cache_alloc_noprof"
	allocLRU  = "kmem_cache_alloc_lru_noprof"
	newInode  = "sock_alloc;new_inode_pseudo;alloc_inode;"
	newFile   = "sock_alloc_file;alloc_file_pseudo;"
)

var objects = []object{
	{"tcp_sock", "TCP", 2368, 25206, 1, socketOp + "__sock_create;inet_create;sk_alloc;sk_prot_alloc;" + alloc,
		connect + transmit + receive},
	{"socket_alloc", "sock_inode_cache", 832, 8623, 1, socketOp + "__sock_create;" + newInode + "sock_alloc_inode;" + allocLRU,
		acceptOp + newInode + "sock_alloc_inode;" + allocLRU},
	{"file", "filp", 192, 1950, 1, socketOp + newFile + "alloc_empty_file;" + alloc, acceptOp + newFile + "alloc_empty_file;" + alloc},
	{"dentry", "dentry", 192, 1950, 1, socketOp + newFile + "d_alloc_pseudo;__d_alloc;" + allocLRU,
		acceptOp + newFile + "d_alloc_pseudo;__d_alloc;" + allocLRU},
	{"epitem", "eventpoll_epi", 128, 1280, 1, epollAdd + alloc, epollAdd + alloc},
	{"inet_bind2_bucket", "eventpoll_epi", 128, 1280, 1,
		connect + "inet_hash_connect;__inet_hash_connect;inet_bind2_bucket_create;" + alloc, ""},
	{"eppoll_entry", "anon_vma_chain", 64, 640, 1, epollAdd + "ep_item_poll;sock_poll;tcp_poll;ep_ptable_queue_proc;" + alloc,
		epollAdd + "ep_item_poll;sock_poll;tcp_poll;ep_ptable_queue_proc;" + alloc},
	{"lsm_inode", "lsm_inode_cache", 32, 320, 1,
		socketOp + "__sock_create;" + newInode + "inode_init_always_gfp;security_inode_alloc;" + alloc,
		acceptOp + newInode + "inode_init_always_gfp;security_inode_alloc;" + alloc},
	{"lsm_file", "lsm_file_cache", 24, 240, 1, socketOp + newFile + "alloc_empty_file;init_file;security_file_alloc;" + alloc,
		acceptOp + newFile + "alloc_empty_file;init_file;security_file_alloc;" + alloc},
	{"epitems_head", "ep_head", 16, 160, 1, epollAdd + "attach_epitem;" + alloc, epollAdd + "attach_epitem;" + alloc},
	{"inet_bind_bucket", "eventpoll_epi", 128, 1280, 20,
		connect + "inet_hash_connect;__inet_hash_connect;inet_bind_bucket_create;" + alloc, ""},
}

// Of is the sample with another number of connections, a multiple of 320 so that shares come out whole.
func Of(connections int) *recording.Recording {
	m := &recording.Machine{
		Host: recording.Host{Kernel: "6.18.5", CPUs: 2, MemoryBytes: 24 << 30, Machine: "x86_64"},
		Load: &recording.Load{End: kernel.RoleBoth, Scenario: "idle", ClientAddresses: 20, ServerPorts: 1, Requested: connections,
			Established: connections, ConnectSeconds: 0.462, ConnectsPerSecond: 43_290, FirstConnectSeconds: 0.214,
			ProcessRSSBytes: 21 << 20},
		Hooks:     Hooks(uint64(connections)),
		Sampling:  &recording.Sampling{Interval: 256, Samples: 1634},
		Cost:      recording.Cost{ProfilerRSSBytes: 38 << 20, BPFMapBytes: 9_437_184, Events: uint64(2 * connections), WalkSeconds: 0.044},
		Trace:     &recording.Trace{ClientOpens: connections, ServerOpens: connections},
		Reconcile: &recording.Reconcile{},
		Notes: []string{"slab caches of one size are merged on this kernel: slabinfo shows inet_bind_bucket and " +
			"inet_bind2_bucket as eventpoll_epi, and eppoll_entry as anon_vma_chain"},
	}
	for i := 1; i <= 20; i++ {
		address := "10.77.0." + strconv.Itoa(i)
		m.Addresses = append(m.Addresses, recording.AddressRow{Address: address, Role: kernel.RoleClient, Count: connections / 20})
	}
	m.Addresses = append(m.Addresses, recording.AddressRow{Address: "10.77.1.1", Role: kernel.RoleServer, Count: connections})
	m.ClientPorts = &recording.ClientPorts{Used: connections / 20, Most: 20, Example: 1024, Connections: []recording.FourTuple{
		{Local: "10.77.0.1:1024", Remote: "10.77.1.1:8090"}, {Local: "10.77.0.20:1024", Remote: "10.77.1.1:8090"}}}
	addRole(m, kernel.RoleClient, connections, func(o object) string { return o.client })
	addRole(m, kernel.RoleServer, connections, func(o object) string { return o.server })
	addListener(m)
	addReconcile(m)
	addTimeline(m)
	addTop(m)
	return recordingOf(m)
}

func recordingOf(machines ...*recording.Machine) *recording.Recording {
	return &recording.Recording{Schema: recording.Schema, Created: time.Date(2026, 10, 20, 9, 30, 0, 0, time.UTC), Version: "0.1.0",
		Command: []string{"connprof", "run", "--ips", "20", "--conns", "20k"}, Kind: recording.KindRun, Machines: machines}
}

// Hooks are those of a kernel without kprobes, on which so many connections were opened.
func Hooks(n uint64) []recording.Hook {
	noKprobes := "kprobe: CONFIG_KPROBES is not set"
	return []recording.Hook{
		{Name: kernel.HookConnect, Function: "inet_sock_set_state", Kind: kernel.KindTracepoint, Attached: true, Hits: n, Note: noKprobes},
		{Name: kernel.HookAccept, Function: "inet_sock_set_state", Kind: kernel.KindTracepoint, Attached: true, Hits: n, Note: noKprobes},
		{Name: kernel.HookState, Function: "inet_sock_set_state", Kind: kernel.KindTracepoint, Attached: true, Hits: 4 * n},
		{Name: kernel.HookDestroy, Function: "tcp_destroy_sock", Kind: kernel.KindTracepoint, Attached: true},
		{Name: kernel.HookSlab, Function: "kmem_cache_alloc", Kind: kernel.KindTracepoint, Attached: true, Hits: 33 * n},
		{Name: kernel.HookSlab, Function: "kmem_cache_free", Kind: kernel.KindTracepoint, Attached: true, Hits: 15 * n},
		{Name: kernel.HookWalk, Function: "tcp", Kind: kernel.KindIterator, Attached: true, Hits: 2*n + 1},
	}
}

func addRole(m *recording.Machine, role kernel.Role, endpoints int, pathOf func(object) string) {
	row := recording.EndpointRow{Role: role, State: "ESTABLISHED", Count: endpoints}
	for _, o := range objects {
		frames := pathOf(o)
		if frames == "" {
			continue
		}
		n := endpoints / o.sharedBy
		bytes := uint64(n) * o.pageTenths / 10
		row.Objects = append(row.Objects, recording.ObjectRow{Type: o.name, Cache: o.cache, Count: n,
			ObjectBytes: uint64(n) * o.objectBytes, PageBytes: bytes})
		row.ObjectBytes += uint64(n) * o.objectBytes
		row.PageBytes += bytes
		m.Trace.Types = append(m.Trace.Types, recording.TypeRow{Role: role, Type: o.name, Trace: n, Walk: n})
		addStacks(m, role, o, frames, n, bytes)
	}
	m.Endpoints = append(m.Endpoints, row)
}

// addStacks lets most of the server's sockets be made inside the client's connect and the rest in ksoftirqd or after
// an interrupt, as loopback has it.
func addStacks(m *recording.Machine, role kernel.Role, o object, frames string, n int, bytes uint64) {
	add := func(frames string, n int, bytes uint64) {
		m.Stacks = append(m.Stacks, recording.Stack{Role: role, Type: o.name, Cache: o.cache, Count: n, Bytes: bytes,
			Samples: max(n/256, 1), Frames: strings.Split(frames, ";")})
	}
	if strings.HasSuffix(frames, receive) {
		part, partBytes := n/16, bytes/16
		for _, other := range []string{ksoftirqd + receive, interrupt + receive} {
			add(other, part, partBytes)
			n, bytes = n-part, bytes-partBytes
		}
	}
	add(frames, n, bytes)
}

func addListener(m *recording.Machine) {
	m.Endpoints = append(m.Endpoints, recording.EndpointRow{Role: kernel.RoleListener, State: "LISTEN", Count: 1, ObjectBytes: 3_392,
		PageBytes: 3_578, Objects: []recording.ObjectRow{
			{Type: "tcp_sock", Cache: "TCP", Count: 1, ObjectBytes: 2_368, PageBytes: 2_521},
			{Type: "socket_alloc", Cache: "sock_inode_cache", Count: 1, ObjectBytes: 832, PageBytes: 862},
			{Type: "file", Cache: "filp", Count: 1, ObjectBytes: 192, PageBytes: 195}}})
	for _, o := range m.Endpoints[len(m.Endpoints)-1].Objects {
		m.Stacks = append(m.Stacks, recording.Stack{Role: kernel.RoleListener, Type: o.Type, Cache: o.Cache, Count: 1,
			Bytes: o.PageBytes, Frames: []string{"[no sample]"}})
	}
}

func addReconcile(m *recording.Machine) {
	rec := m.Reconcile
	byCache := map[string]int{}
	for _, row := range m.Endpoints {
		rec.AccountedPageBytes += int64(row.PageBytes)
		for _, o := range row.Objects {
			i, known := byCache[o.Cache]
			if !known {
				i = len(rec.Caches)
				byCache[o.Cache] = i
				rec.Caches = append(rec.Caches, recording.CacheRow{Cache: o.Cache, ObjectSizeBytes: o.ObjectBytes / uint64(o.Count),
					PageBytesEachObject: float64(o.PageBytes) / float64(o.Count)})
			}
			c := &rec.Caches[i]
			c.AccountedObjects += int64(o.Count)
			c.AccountedPageBytes += int64(o.PageBytes)
		}
	}
	for i := range rec.Caches {
		c := &rec.Caches[i]
		spare := int64(3 + 7*i)
		c.SlabinfoDeltaObjects = c.AccountedObjects + spare
		c.SlabinfoDeltaBytes = c.AccountedPageBytes + int64(float64(spare)*c.PageBytesEachObject)
	}
	rec.Caches = append(rec.Caches,
		recording.CacheRow{Cache: "kmalloc-64", SlabinfoDeltaObjects: 9_216, SlabinfoDeltaBytes: 589_824, ObjectSizeBytes: 64},
		recording.CacheRow{Cache: "skbuff_head_cache", SlabinfoDeltaObjects: 2_144, SlabinfoDeltaBytes: 548_864, ObjectSizeBytes: 256},
		recording.CacheRow{Cache: "kmalloc-1k", SlabinfoDeltaObjects: 336, SlabinfoDeltaBytes: 344_064, ObjectSizeBytes: 1024},
		recording.CacheRow{Cache: "radix_tree_node", SlabinfoDeltaObjects: 196, SlabinfoDeltaBytes: 114_688, ObjectSizeBytes: 576},
		recording.CacheRow{Cache: "vm_area_struct", SlabinfoDeltaObjects: -84, SlabinfoDeltaBytes: -16_384, ObjectSizeBytes: 176})
	rec.SlabDeltaBytes = rec.AccountedPageBytes + rec.AccountedPageBytes/100
	rec.UnexplainedRatio = float64(rec.SlabDeltaBytes-rec.AccountedPageBytes) / float64(rec.SlabDeltaBytes)
}

func addTimeline(m *recording.Machine) {
	const base = 431 << 20
	for i := 0; i <= 30; i++ {
		at := float64(i) * 0.025
		up := min(max((at-0.214)/0.462, 0), 1)
		m.Load.Timeline = append(m.Load.Timeline, recording.TimelinePoint{Seconds: at,
			Established: int(up * float64(m.Load.Requested)), SlabBytes: base + uint64(up*float64(m.Reconcile.SlabDeltaBytes))})
	}
}

func addTop(m *recording.Machine) {
	for i := range 100 {
		m.Top = append(m.Top, recording.TopEndpoint{Role: kernel.RoleClient, State: "ESTABLISHED",
			Local: "10.77.0." + strconv.Itoa(i%20+1) + ":" + strconv.Itoa(1025+i), Remote: "10.77.1.1:9000", PID: 4242,
			Objects:     map[string]int{"tcp_sock": 1, "socket_alloc": 1, "file": 1, "dentry": 1, "epitem": 1, "eppoll_entry": 1},
			ObjectBytes: 3_968, PageBytes: 4_293})
	}
}
