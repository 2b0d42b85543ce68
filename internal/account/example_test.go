package account_test

import (
	"fmt"
	"net/netip"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Events say who an endpoint is, a walk says what it holds; the caches know how many bytes that takes.
func Example() {
	const sock, cache = 0x1000, 0x2000
	slabs := map[string]kernel.Slab{"TCP": {Name: "TCP", ObjectBytes: 2368, ObjectsPerSlab: 13, PagesPerSlab: 8}}
	caches := account.NewCaches(slabs, nil, map[uint64]kernel.CacheInfo{cache: {Name: "TCP"}}, nil, nil)

	ledger := account.NewLedger(1)
	ledger.Opened(kernel.EndpointEvent{Sock: sock, Role: kernel.RoleClient})
	endpoint := kernel.Endpoint{Sock: sock, Cache: cache, State: kernel.StateEstablished,
		Local: netip.MustParseAddrPort("198.18.1.1:1024"), Remote: netip.MustParseAddrPort("198.18.0.1:8090")}
	endpoint.Objects[kernel.TCPSock] = 1
	ledger.Visit(&endpoint, caches)

	var machine recording.Machine
	ledger.FillWalk(&machine, caches)
	for _, row := range machine.Endpoints {
		fmt.Println(row.Role, row.State, row.Count, row.ObjectBytes, row.PageBytes)
	}
	// Output: client ESTABLISHED 1 2368 2521
}
