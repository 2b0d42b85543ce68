package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/recording"
)

var update = flag.Bool("update", false, "write testdata/sample.json anew")

// TestSampleFileIsTheSample keeps testdata/sample.json, which others may read, the recording these tests speak of.
func TestSampleFileIsTheSample(t *testing.T) {
	want, err := json.MarshalIndent(sample(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	file := filepath.Join("testdata", "sample.json")
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what sample() makes; go test ./report -run SampleFile -update writes it", file)
	}
}

// sample is a realistic recording of 20,000 connections on a kernel without kprobes.
func sample() *recording.Recording { return sampleOf(20_000) }

// sampleObject is one object type an endpoint holds, in the figures of a 6.18 kernel.
type sampleObject struct {
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

var sampleObjects = []sampleObject{
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

// sampleOf is the sample with another number of connections, a multiple of 320 so that shares come out whole.
func sampleOf(connections int) *recording.Recording {
	r := &recording.Recording{
		Schema:  recording.Schema,
		Created: time.Date(2026, 10, 20, 9, 30, 0, 0, time.UTC),
		Version: "0.1.0",
		Command: []string{"connprof", "run", "--ips", "20", "--conns", "20k"},
		Host:    recording.Host{Kernel: "6.18.5", CPUs: 2, MemoryBytes: 24 << 30, Machine: "x86_64"},
		Load: recording.Load{Scenario: "idle", ClientAddresses: 20, ServerPorts: 1, Requested: connections,
			Established: connections, ConnectSeconds: 0.462, ConnectsPerSecond: 43_290, FirstConnectSeconds: 0.214,
			ProcessRSSBytes: 21 << 20},
		Hooks:    sampleHooks(uint64(connections)),
		Sampling: recording.Sampling{Interval: 256, Samples: 1634},
		Cost:     recording.Cost{ProfilerRSSBytes: 38 << 20, BPFMapBytes: 9_437_184, Events: uint64(2 * connections), WalkSeconds: 0.044},
		Trace:    recording.Trace{ClientOpens: connections, ServerOpens: connections},
		Notes: []string{"slab caches of one size are merged on this kernel: slabinfo shows inet_bind_bucket and " +
			"inet_bind2_bucket as eventpoll_epi, and eppoll_entry as anon_vma_chain"},
	}
	for i := 1; i <= 20; i++ {
		address := "10.77.0." + count(i)
		near(r).Addresses = append(near(r).Addresses, recording.AddressRow{Address: address, Role: kernel.RoleClient, Count: connections / 20})
	}
	near(r).Addresses = append(near(r).Addresses, recording.AddressRow{Address: "10.77.1.1", Role: kernel.RoleServer, Count: connections})
	near(r).ClientPorts = &recording.ClientPorts{Used: connections / 20, Most: 20, Example: 1024, Connections: []recording.FourTuple{
		{Local: "10.77.0.1:1024", Remote: "10.77.1.1:8090"}, {Local: "10.77.0.20:1024", Remote: "10.77.1.1:8090"}}}
	addRole(r, kernel.RoleClient, connections, func(o sampleObject) string { return o.client })
	addRole(r, kernel.RoleServer, connections, func(o sampleObject) string { return o.server })
	addListener(r)
	addReconcile(r)
	addTimeline(r)
	addTop(r)
	return r
}

func sampleHooks(n uint64) []recording.Hook {
	noKprobes := "kprobe: CONFIG_KPROBES is not set"
	return []recording.Hook{
		{Name: "connect", Function: "inet_sock_set_state", Kind: "tracepoint", Attached: true, Hits: n, Note: noKprobes},
		{Name: "accept", Function: "inet_sock_set_state", Kind: "tracepoint", Attached: true, Hits: n, Note: noKprobes},
		{Name: "state", Function: "inet_sock_set_state", Kind: "tracepoint", Attached: true, Hits: 4 * n},
		{Name: "destroy", Function: "tcp_destroy_sock", Kind: "tracepoint", Attached: true},
		{Name: "slab alloc", Function: "kmem_cache_alloc", Kind: "tracepoint", Attached: true, Hits: 33 * n},
		{Name: "slab free", Function: "kmem_cache_free", Kind: "tracepoint", Attached: true, Hits: 15 * n},
		{Name: "walk", Function: "tcp", Kind: "iterator", Attached: true, Hits: 2*n + 1},
	}
}

func addRole(r *recording.Recording, role string, endpoints int, pathOf func(sampleObject) string) {
	row := recording.EndpointRow{Role: role, State: "ESTABLISHED", Count: endpoints}
	for _, o := range sampleObjects {
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
		near(r).Trace.Types = append(near(r).Trace.Types, recording.TypeRow{Role: role, Type: o.name, Trace: n, Walk: n})
		addStacks(r, role, o, frames, n, bytes)
	}
	near(r).Endpoints = append(near(r).Endpoints, row)
}

// addStacks lets most of the server's sockets be made inside the client's connect and the rest in ksoftirqd or after
// an interrupt, as loopback has it.
func addStacks(r *recording.Recording, role string, o sampleObject, frames string, n int, bytes uint64) {
	add := func(frames string, n int, bytes uint64) {
		near(r).Stacks = append(near(r).Stacks, recording.Stack{Role: role, Type: o.name, Cache: o.cache, Count: n, Bytes: bytes,
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

func addListener(r *recording.Recording) {
	near(r).Endpoints = append(near(r).Endpoints, recording.EndpointRow{Role: kernel.RoleListener, State: "LISTEN", Count: 1, ObjectBytes: 3_392,
		PageBytes: 3_578, Objects: []recording.ObjectRow{
			{Type: "tcp_sock", Cache: "TCP", Count: 1, ObjectBytes: 2_368, PageBytes: 2_521},
			{Type: "socket_alloc", Cache: "sock_inode_cache", Count: 1, ObjectBytes: 832, PageBytes: 862},
			{Type: "file", Cache: "filp", Count: 1, ObjectBytes: 192, PageBytes: 195}}})
	for _, o := range near(r).Endpoints[len(near(r).Endpoints)-1].Objects {
		near(r).Stacks = append(near(r).Stacks, recording.Stack{Role: kernel.RoleListener, Type: o.Type, Cache: o.Cache, Count: 1,
			Bytes: o.PageBytes, Frames: []string{"[no sample]"}})
	}
}

func addReconcile(r *recording.Recording) {
	rec := &near(r).Reconcile
	byCache := map[string]int{}
	for _, row := range near(r).Endpoints {
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

func addTimeline(r *recording.Recording) {
	const base = 431 << 20
	for i := 0; i <= 30; i++ {
		at := float64(i) * 0.025
		up := min(max((at-0.214)/0.462, 0), 1)
		near(r).Load.Timeline = append(near(r).Load.Timeline, recording.TimelinePoint{Seconds: at,
			Established: int(up * float64(near(r).Load.Requested)), SlabBytes: base + uint64(up*float64(near(r).Reconcile.SlabDeltaBytes))})
	}
}

func addTop(r *recording.Recording) {
	for i := range 100 {
		near(r).Top = append(near(r).Top, recording.TopEndpoint{Role: kernel.RoleClient, State: "ESTABLISHED",
			Local: "10.77.0." + count(i%20+1) + ":" + plain(float64(1025+i)), Remote: "10.77.1.1:9000", PID: 4242,
			Objects:     map[string]int{"tcp_sock": 1, "socket_alloc": 1, "file": 1, "dentry": 1, "epitem": 1, "eppoll_entry": 1},
			ObjectBytes: 3_968, PageBytes: 4_293})
	}
}

// twoMachines is the sample with its ends on two machines that differ in kernel, hooks, losses and notes.
func twoMachines() *recording.Recording {
	r, server := ends()
	r.Join(server)
	return r
}

// oneKernel is the sample with its ends in two network namespaces of one host.
func oneKernel() *recording.Recording {
	r, server := ends()
	near(server).Host, near(server).Hooks, near(server).Losses = near(r).Host, near(r).Hooks, recording.Losses{}
	// Each has seen slab memory grow by both ends.
	grown := near(sample()).Reconcile
	for _, end := range []*recording.Recording{r, server} {
		near(end).Reconcile.SlabDeltaBytes = grown.SlabDeltaBytes
		for i := range near(end).Reconcile.Caches {
			c := &near(end).Reconcile.Caches[i]
			of := grown.Caches[slices.IndexFunc(grown.Caches, func(g recording.CacheRow) bool { return g.Cache == c.Cache })]
			c.SlabinfoDeltaObjects, c.SlabinfoDeltaBytes = of.SlabinfoDeltaObjects, of.SlabinfoDeltaBytes
		}
	}
	r.Join(server)
	return r
}

// ends are what the two machines of a run have recorded, each alone.
func ends() (client, server *recording.Recording) {
	client, server = endOf("client", "client"), endOf("server", "server", "listener")
	near(client).Name, near(client).Host.Boot = "web-1", "boot 1"
	client.Command = []string{"connprof", "run", "--target", "db-7:8090", "--token", "TOKEN", "--ips", "20", "--conns", "20k"}
	near(client).Notes = append(near(client).Notes, "the client's own note")
	near(server).Host = recording.Host{Name: "db-7", Boot: "boot 2", Kernel: "6.12.117", CPUs: 64, MemoryBytes: 512 << 30,
		Machine: "aarch64"}
	server.Command = []string{"connprof", "serve", "--token", "TOKEN"}
	near(server).Hooks[1] = recording.Hook{Name: "accept", Function: "inet_csk_accept", Kind: "kretprobe", Attached: true, Hits: 20_000}
	near(server).Losses.RingFull = 7
	near(server).Load.ProcessRSSBytes, near(server).Cost.ProfilerRSSBytes = 13<<20, 41<<20
	near(server).Load.ConnectSeconds, near(server).ClientPorts = 0, nil
	near(server).Reconcile.SlabDeltaBytes = near(server).Reconcile.AccountedPageBytes - near(server).Reconcile.AccountedPageBytes/50
	for end, r := range map[string]*recording.Recording{"client": client, "server": server} {
		near(r).Plan = []recording.PlanRow{{Limit: "open files (all)", Where: "fs.file-max", Need: 30_000, Have: 60_000, Verdict: "ok"}}
		if end == "server" {
			near(r).Plan[0].Verdict = "warns"
		}
	}
	return client, server
}

// endOf is the sample as one end has it that is alone on its machine.
func endOf(end string, roles ...string) *recording.Recording {
	r := sample()
	near(r).Load.End = end
	other := func(role string) bool { return !slices.Contains(roles, role) }
	near(r).Endpoints = slices.DeleteFunc(near(r).Endpoints, func(e recording.EndpointRow) bool { return other(e.Role) })
	near(r).Addresses = slices.DeleteFunc(near(r).Addresses, func(a recording.AddressRow) bool { return other(a.Role) })
	near(r).Stacks = slices.DeleteFunc(near(r).Stacks, func(s recording.Stack) bool { return other(s.Role) })
	near(r).Top = slices.DeleteFunc(near(r).Top, func(e recording.TopEndpoint) bool { return other(e.Role) })
	near(r).Trace.Types = slices.DeleteFunc(near(r).Trace.Types, func(t recording.TypeRow) bool { return other(t.Role) })
	if end == "client" {
		near(r).Trace.ServerOpens = 0
	} else {
		near(r).Trace.ClientOpens = 0
	}
	near(r).Reconcile = recording.Reconcile{}
	addReconcile(r)
	return r
}

// copyOf lets a test change a recording without changing another's.
func copyOf(t *testing.T, r *recording.Recording) *recording.Recording {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	c := new(recording.Recording)
	if err := json.Unmarshal(data, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// troubled is the sample after a bad day: failures, losses, disagreements, another kernel, other sizes.
func troubled(t *testing.T) *recording.Recording {
	r := copyOf(t, sample())
	near(r).Host.Kernel = "6.12.117"
	r.Interrupted = "SIGINT after 11,200 of 20,000 connections"
	near(r).Hooks[0] = recording.Hook{Name: "connect", Function: "tcp_v4_connect", Kind: "kprobe", Note: "fentry: permission denied " +
		"(load of program connect_entry: BPF_PROG_LOAD needs CAP_PERFMON and CAP_BPF; run as root)"}
	near(r).Load.Established, near(r).Load.Failed = 11_200, 40
	near(r).Load.Failures = []recording.Failure{{Step: "connect", Error: "cannot assign requested address", Count: 40}}
	near(r).Losses = recording.Losses{RingFull: 12, WalkSkipped: 3}
	near(r).Trace.Types[4].Trace += 412
	near(r).Trace.ClientOpens -= 12
	near(r).Reconcile.SlabDeltaBytes += 14 << 20
	server := &near(r).Endpoints[1]
	server.Objects[0].PageBytes += 3_200_000
	server.PageBytes += 3_200_000
	server.BufferBytes = 81_920_000
	for i := range near(r).Stacks {
		if near(r).Stacks[i].Role == kernel.RoleServer && near(r).Stacks[i].Type == "tcp_sock" && near(r).Stacks[i].Frames[0] != "ret_from_fork_asm" {
			near(r).Stacks[i].Bytes += 1_600_000
		}
	}
	client := &near(r).Endpoints[0]
	client.Objects = client.Objects[:len(client.Objects)-1]
	client.PageBytes -= 128_000
	near(r).Stacks = slices.DeleteFunc(near(r).Stacks, func(s recording.Stack) bool { return s.Type == "inet_bind_bucket" })
	return r
}
