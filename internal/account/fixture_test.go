package account

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// page is the size the geometry of the made-up caches is counted in.
var page = uint64(os.Getpagesize())

// Addresses of the made-up kernel's struct kmem_caches.
const (
	cacheTCP = 0xffff888100000000 + iota*0x100
	cacheTCPv6
	cacheTW
	cacheReq
	cacheEpi
	cacheHead
	cacheFilp
)

// testSlabs has a power of two of objects on each slab, so that page bytes come out whole.
func testSlabs() map[string]kernel.Slab {
	slabs := map[string]kernel.Slab{}
	for _, s := range []kernel.Slab{
		{Name: "TCP", ObjectBytes: 1900, ObjectsPerSlab: 16, PagesPerSlab: 8},
		{Name: "TCPv6", ObjectBytes: 2000, ObjectsPerSlab: 16, PagesPerSlab: 16},
		{Name: "sock_inode_cache", ObjectBytes: 832, ObjectsPerSlab: 16, PagesPerSlab: 4},
		{Name: "filp", ObjectBytes: 192, ObjectsPerSlab: 16, PagesPerSlab: 1},
		{Name: "dentry", ObjectBytes: 190, ObjectsPerSlab: 16, PagesPerSlab: 1},
		{Name: "lsm_inode_cache", ObjectBytes: 32, ObjectsPerSlab: 128, PagesPerSlab: 1},
		{Name: "lsm_file_cache", ObjectBytes: 24, ObjectsPerSlab: 128, PagesPerSlab: 1},
		{Name: "eventpoll_epi", ObjectBytes: 128, ObjectsPerSlab: 32, PagesPerSlab: 1},
		{Name: "anon_vma_chain", ObjectBytes: 64, ObjectsPerSlab: 64, PagesPerSlab: 1},
		{Name: "ep_head", ObjectBytes: 16, ObjectsPerSlab: 256, PagesPerSlab: 1},
		{Name: "tw_sock_TCP", ObjectBytes: 256, ObjectsPerSlab: 16, PagesPerSlab: 1},
		{Name: "tw_sock_TCPv6", ObjectBytes: 260, ObjectsPerSlab: 8, PagesPerSlab: 1},
		{Name: "request_sock_TCP", ObjectBytes: 300, ObjectsPerSlab: 8, PagesPerSlab: 1},
		{Name: "request_sock_TCPv6", ObjectBytes: 310, ObjectsPerSlab: 4, PagesPerSlab: 1},
		{Name: "kmalloc-64", ObjectBytes: 64, ObjectsPerSlab: 64, PagesPerSlab: 1},
		{Name: "kmalloc-128", ObjectBytes: 128, ObjectsPerSlab: 32, PagesPerSlab: 1},
	} {
		slabs[s.Name] = s
	}
	return slabs
}

func testAliases() map[string]string {
	return map[string]string{"eventpoll_epi": "eventpoll_epi", "tcp_bind_bucket": "eventpoll_epi",
		"tcp_bind2_bucket": "eventpoll_epi", "eventpoll_pwq": "anon_vma_chain", "anon_vma_chain": "anon_vma_chain"}
}

// functions are the made-up kernel's, 256 bytes each.
var functions = strings.Fields(`bpf_prog_0123456789abcdef_on_alloc bpf_trace_run6 __traceiter_kmem_cache_alloc
	kmem_cache_alloc_noprof kmem_cache_alloc_lru_noprof sk_prot_alloc sk_alloc inet_create __sock_create __sys_socket
	__x64_sys_socket sk_clone inet_csk_clone_lock tcp_create_openreq_child tcp_v4_syn_recv_sock tcp_check_req tcp_v4_rcv
	ip_protocol_deliver_rcu process_backlog net_rx_action handle_softirqs do_softirq __local_bh_enable_ip __dev_queue_xmit
	ip_finish_output2 __ip_queue_xmit __tcp_transmit_skb tcp_connect tcp_v4_connect __inet_stream_connect __sys_connect
	__x64_sys_connect sock_alloc_inode alloc_inode sock_alloc do_accept __sys_accept4 __x64_sys_accept4 alloc_empty_file
	do_epoll_ctl ep_ptable_queue_proc inet_bind_bucket_create security_sk_alloc alloc_slab_obj_exts allocate_slab
	inet_twsk_alloc vfs_read do_syscall_64 entry_SYSCALL_64_after_hwframe
	inet_bind2_bucket_create __inet_hash_connect`)

func addressOf(function string) uint64 {
	for i, f := range functions {
		if f == function {
			return 0xffffffff81000000 + uint64(i)*256
		}
	}
	panic("the made-up kernel has no " + function)
}

// site is a return address within the function.
func site(function string) uint64 { return addressOf(function) + 16 }

// frames are return addresses for functions given leaf first, as the kernel reports them.
func frames(leafFirst ...string) []uint64 {
	addresses := make([]uint64, len(leafFirst))
	for i, f := range leafFirst {
		addresses[i] = site(f)
	}
	return addresses
}

func testSymbols() *kernel.Symbols {
	var text strings.Builder
	for _, f := range functions {
		fmt.Fprintf(&text, "%016x t %s\n", addressOf(f), f)
	}
	s, err := kernel.ParseSymbols(strings.NewReader(text.String()))
	if err != nil {
		panic(err)
	}
	return s
}

// testInfos are the struct kmem_caches that the probes met, not charged to memory cgroups.
func testInfos() map[uint64]kernel.CacheInfo {
	return map[uint64]kernel.CacheInfo{cacheTCP: {Name: "TCP"}, cacheTCPv6: {Name: "TCPv6"}, cacheTW: {Name: "tw_sock_TCP"},
		cacheReq: {Name: "request_sock_TCP"}, cacheEpi: {Name: "eventpoll_epi"}, cacheHead: {Name: "ep_head"},
		cacheFilp: {Name: "filp"}}
}

func testCaches(sites ...kernel.Site) *Caches {
	return NewCaches(testSlabs(), testAliases(), testInfos(), sites, testSymbols())
}

// evidence closes a ledger on a kernel whose slab memory has not changed.
func objectRow(kind, cache string, count int, objectBytes, pageBytes uint64) recording.ObjectRow {
	return recording.ObjectRow{Type: kind, Cache: cache, Count: count, ObjectBytes: objectBytes, PageBytes: pageBytes}
}

func typeRow(role kernel.Role, kind string, trace, walk int) recording.TypeRow {
	return recording.TypeRow{Role: role, Type: kind, Trace: trace, Walk: walk}
}

func evidence(c *Caches, sites ...kernel.Site) Evidence {
	snapshot := Snapshot{Slabs: testSlabs()}
	return Evidence{Before: snapshot, After: snapshot, Caches: c, Sites: sites, Symbols: testSymbols()}
}

// listenPort is where the made-up servers listen.
const listenPort = 5000

func clientAddress(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i/10000)}), uint16(10000+i%10000))
}

var serverAddress = netip.MustParseAddrPort("10.0.1.1:5000")

// client is the connecting end of connection i, with a port that connect() chose and a bind bucket of its own.
func client(i int) *kernel.Endpoint {
	e := &kernel.Endpoint{Sock: 0xffff8881_10000000 + uint64(i)*4096, Cache: cacheTCP, Bind: 0xb000 + uint64(i),
		BindSole: true, BindByConnect: true, File: 0xffff8882_10000000 + uint64(i)*256, State: kernel.StateEstablished,
		Local: clientAddress(i), Remote: serverAddress}
	for _, kind := range []kernel.ObjectType{kernel.TCPSock, kernel.SocketAlloc, kernel.File, kernel.Dentry,
		kernel.BindBucket} {
		e.Objects[kind] = 1
	}
	return e
}

// server is the accepted end of connection i, in an epoll set, and without a bind bucket.
func server(i int) *kernel.Endpoint {
	e := client(i)
	e.Sock += 0x1_0000_0000
	e.File += 0x1_0000_0000
	e.Bind, e.BindSole, e.BindByConnect, e.Cloned = 0, false, false, true
	e.Local, e.Remote = e.Remote, e.Local
	e.Objects[kernel.BindBucket] = 0
	e.Objects[kernel.Epitem], e.Objects[kernel.EppollEntry], e.Objects[kernel.EpitemsHead] = 1, 1, 1
	return e
}

func listener() *kernel.Endpoint {
	e := server(0)
	e.Sock, e.File, e.Cloned = 0xffff8881_ffff0000, 0xffff8882_ffff0000, false
	e.State, e.Remote = kernel.StateListen, netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	return e
}

// unmarked is an endpoint on which nothing tells how it was opened.
func unmarked(e *kernel.Endpoint) *kernel.Endpoint {
	e.BindLocked, e.BindByConnect, e.Cloned = false, false, false
	return e
}

// visited is a ledger that has walked the endpoints.
func visited(c *Caches, endpoints ...*kernel.Endpoint) *Ledger {
	l := NewLedger(len(endpoints))
	for _, e := range endpoints {
		l.Visit(e, c)
	}
	return l
}

// filled is the account of a walk over the endpoints.
func filled(c *Caches, endpoints ...*kernel.Endpoint) *recording.Machine {
	r := &recording.Machine{}
	visited(c, endpoints...).Fill(r, evidence(c))
	return r
}

func rowOf(t *testing.T, r *recording.Machine, role kernel.Role, state string) recording.EndpointRow {
	t.Helper()
	for _, row := range r.Endpoints {
		if row.Role == role && row.State == state {
			return row
		}
	}
	t.Fatalf("no row %s %s in %+v", role, state, r.Endpoints)
	return recording.EndpointRow{}
}

// objectOf is the row's line for a type; it is empty where there is none.
func objectOf(row recording.EndpointRow, kind kernel.ObjectType) recording.ObjectRow {
	for _, o := range row.Objects {
		if o.Type == kind.String() {
			return o
		}
	}
	return recording.ObjectRow{}
}
