package account_test

import (
	"fmt"
	"net/netip"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// slabs is what /proc/slabinfo says of the caches that a sock, its socket and its file come from.
var slabs = map[string]kernel.Slab{
	"TCP":              {Name: "TCP", ObjectBytes: 2368, ObjectsPerSlab: 13, PagesPerSlab: 8},
	"sock_inode_cache": {Name: "sock_inode_cache", ObjectBytes: 832, ObjectsPerSlab: 19, PagesPerSlab: 4},
	"filp":             {Name: "filp", ObjectBytes: 192, ObjectsPerSlab: 21, PagesPerSlab: 1},
}

// established is one end of a connection as a walk finds it.
func established(local, remote string) *kernel.Endpoint {
	e := &kernel.Endpoint{State: kernel.StateEstablished, Local: netip.MustParseAddrPort(local),
		Remote: netip.MustParseAddrPort(remote)}
	e.Objects[kernel.TCPSock], e.Objects[kernel.SocketAlloc], e.Objects[kernel.File] = 1, 1, 1
	return e
}

// A walk over a listener and one connection becomes an account by role and state.
func Example() {
	caches := account.NewCaches(slabs, nil, nil, nil, &kernel.Symbols{})
	listener := established("10.0.0.1:80", "0.0.0.0:0")
	listener.State = kernel.StateListen
	client := established("10.0.0.2:40000", "10.0.0.1:80")
	server := established("10.0.0.1:80", "10.0.0.2:40000")
	server.Buffers.Rmem = 4096

	ledger := account.NewLedger(3)
	for _, e := range []*kernel.Endpoint{listener, client, server} { // listeners come first
		ledger.Visit(e, caches)
	}
	m := &recording.Machine{}
	ledger.FillWalk(m, caches)
	for _, row := range m.Endpoints {
		fmt.Println(row.Count, row.Role, row.State, row.ObjectBytes, "bytes of objects,", row.BufferBytes, "queued")
		for _, o := range row.Objects {
			fmt.Println("  ", o.Count, o.Type, "from", o.Cache)
		}
	}
	// Output:
	// 1 client ESTABLISHED 3392 bytes of objects, 0 queued
	//    1 tcp_sock from TCP
	//    1 socket_alloc from sock_inode_cache
	//    1 file from filp
	// 1 server ESTABLISHED 3392 bytes of objects, 4096 queued
	//    1 tcp_sock from TCP
	//    1 socket_alloc from sock_inode_cache
	//    1 file from filp
	// 1 listener LISTEN 3392 bytes of objects, 0 queued
	//    1 tcp_sock from TCP
	//    1 socket_alloc from sock_inode_cache
	//    1 file from filp
}

// Two containers have the same address. Their sockets are told apart by their network namespaces, and their owners by the
// files that processes have open.
func ExampleLedger_GroupBy() {
	owners := account.OwnersByFile{
		1: {PIDs: []int{100, 101}, Comm: "nginx"}, // a master and its worker share the file
		2: {PIDs: []int{200}, Comm: "caddy"},
	}
	caches := account.NewCaches(slabs, nil, nil, nil, &kernel.Symbols{})
	ledger := account.NewLedger(0)
	ledger.GroupBy(account.Grouping{Owners: owners, Netns: true, Listener: true})
	for container, netns := range []uint32{4026532001, 4026532002} {
		listener := established("172.17.0.2:80", "0.0.0.0:0")
		listener.State, listener.Netns, listener.File = kernel.StateListen, netns, uint64(container+1)
		waiting := established("172.17.0.2:80", "172.17.0.1:40000")
		waiting.Netns, waiting.Objects[kernel.SocketAlloc], waiting.Objects[kernel.File] = netns, 0, 0
		ledger.Visit(listener, caches)
		ledger.Visit(waiting, caches)
	}
	m := &recording.Machine{}
	ledger.FillWalk(m, caches)
	for _, g := range m.Groups {
		fmt.Println(g.Netns, g.Owner, g.Comm, g.PIDs, g.Count, g.Role, g.State, "at", g.Listener)
	}
	// Output:
	// 4026532001 process nginx [100 101] 1 listener LISTEN at 172.17.0.2:80
	// 4026532002 process caddy [] 1 listener LISTEN at 172.17.0.2:80
	// 4026532001 accept_queue  [] 1 server ESTABLISHED at 172.17.0.2:80
	// 4026532002 accept_queue  [] 1 server ESTABLISHED at 172.17.0.2:80
}
