package load

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
)

func addresses(n int) []netip.Addr {
	a := netip.MustParseAddr("127.1.0.0")
	var list []netip.Addr
	for range n {
		a = a.Next()
		list = append(list, a)
	}
	return list
}

func ports(n int) []uint16 {
	var list []uint16
	for i := range n {
		list = append(list, uint16(8090+i))
	}
	return list
}

// A listener has its address and port for itself, to however many server ports connections would go.
func TestEveryListenerHasAnAddressAndPortOfItsOwn(t *testing.T) {
	config := Config{End: kernel.RoleBoth, Clients: addresses(2), Ports: ports(20), Connections: 1000, Scenario: "listen"}
	if err := config.check(); err != nil {
		t.Fatal(err)
	}
	p := newTuples(config)
	type place struct {
		address int
		local   uint16
	}
	seen := map[place]bool{}
	for i := range config.Connections {
		address, _, local := p.tuple(i)
		seen[place{address, local}] = true
	}
	if len(seen) != config.Connections {
		t.Errorf("%d places for %d listeners", len(seen), config.Connections)
	}
	listen, _ := FindScenario("listen")
	if most := listen.Capacity(2, 20); most != config.Capacity() || most != 2*(1<<16-FirstClientPort-20) {
		t.Errorf("two addresses have room for %d and %d listeners", most, config.Capacity())
	}
}

func TestEveryConnectionHasAFourTupleOfItsOwn(t *testing.T) {
	type tuple struct {
		address, port int
		local         uint16
	}
	for _, c := range []struct{ addresses, ports, connections int }{
		{20, 1, 100_000}, {1, 20, 100_000}, {7, 3, 4_999}, {1, 1, 64_511}, {3, 1, 3 * 64_511}, {1, 1, 1},
	} {
		config := Config{End: kernel.RoleBoth, Clients: addresses(c.addresses), Ports: ports(c.ports), Connections: c.connections}
		if err := config.check(); err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		p := newTuples(config)
		seen := make(map[tuple]bool, c.connections)
		perAddress := make([]int, c.addresses)
		for i := range c.connections {
			address, port, local := p.tuple(i)
			seen[tuple{address, port, local}] = true
			perAddress[address]++
			if local < FirstClientPort || local >= 8090 && int(local) < 8090+c.ports {
				t.Fatalf("%+v: connection %d uses local port %d", c, i, local)
			}
		}
		if len(seen) != c.connections {
			t.Errorf("%+v: %d distinct four-tuples for %d connections", c, len(seen), c.connections)
		}
		for _, n := range perAddress {
			if n < c.connections/c.addresses || n > c.connections/c.addresses+1 {
				t.Errorf("%+v: connections by address %v are not even", c, perAddress)
				break
			}
		}
	}
}

func TestMoreConnectionsThanFourTuplesAreRefused(t *testing.T) {
	c := Config{End: kernel.RoleBoth, Clients: addresses(2), Ports: ports(3)}
	c.Connections = c.Capacity()
	if err := c.check(); err != nil {
		t.Errorf("%d connections: %v", c.Connections, err)
	}
	c.Connections++
	if err := c.check(); err == nil || !strings.Contains(err.Error(), "four-tuples") {
		t.Errorf("%d connections: error %v, want one about four-tuples", c.Connections, err)
	}
	if got := Scenarios[0].Capacity(2, 3); got != c.Capacity() {
		t.Errorf("a scenario's capacity is %d and a load's %d", got, c.Capacity())
	}
}

func TestFailuresAreCountedByStepAndError(t *testing.T) {
	s := &shared{}
	s.fail(stepConnect, 111)
	s.fail(stepConnect, 111)
	s.fail(stepBind, 98)
	s.note(stepAccept, 24)
	if p := s.progress(); p.Failed != 3 {
		t.Errorf("%d failed, want 3", p.Failed)
	}
	got := map[string]int{}
	for _, f := range s.listFailures() {
		got[f.Step+": "+f.Errno.Error()] = f.Count
	}
	for text, n := range map[string]int{"connect: connection refused": 2, "bind: address already in use": 1,
		"accept: too many open files": 1} {
		if got[text] != n {
			t.Errorf("%q counted %d times, want %d; all: %v", text, got[text], n, got)
		}
	}
}

func TestFailuresBeyondTheTableAreStillCounted(t *testing.T) {
	s := &shared{}
	for i := range maxFailures + 5 {
		s.note(stepConnect, errnoNumber(i+1))
	}
	total := 0
	for _, f := range s.listFailures() {
		total += f.Count
	}
	if total != maxFailures+5 {
		t.Errorf("%d failures listed, want %d", total, maxFailures+5)
	}
}
