package load

import (
	"net/netip"
	"testing"
)

func TestEachPortGetsTheBacklogThatItsConnectionsFill(t *testing.T) {
	s, ok := FindScenario("unaccepted")
	if !ok {
		t.Fatal("there is no scenario unaccepted")
	}
	for _, c := range []struct{ clients, ports, conns int }{{1, 1, 10}, {20, 1, 300}, {20, 3, 1000}, {3, 7, 22}, {1, 2, 3}, {5, 4, 200}} {
		config := Config{Clients: make([]netip.Addr, c.clients), Ports: make([]uint16, c.ports), Connections: c.conns, Backlog: 4096}
		came := make([]int, c.ports)
		dealt := newTuples(config)
		for i := range c.conns {
			_, port, _ := dealt.tuple(i)
			came[port]++
		}
		for port, n := range came {
			if want, got := max(n-1, 1), s.backlog(config, port); got != want {
				t.Errorf("%+v: %d connections come to port %d, whose backlog is %d, want %d", c, n, port, got, want)
			}
		}
	}
	idle, _ := FindScenario("idle")
	if got := idle.backlog(Config{Backlog: 77}, 0); got != 77 {
		t.Errorf("a backlog of %d where connections are accepted, want 77", got)
	}
}
