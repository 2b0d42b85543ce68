package account

import (
	"net/netip"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// One client address and port, and as many connections as there are server ports.
func TestOneClientPortIsSharedByDestinations(t *testing.T) {
	c := testCaches()
	l := visited(c, listener())
	local := netip.MustParseAddrPort("10.0.0.1:10000")
	for port := range uint16(25) {
		e := client(0)
		e.Sock += uint64(port) * 4096
		e.Local, e.Remote = local, netip.AddrPortFrom(serverAddress.Addr(), listenPort+24-port)
		l.Visit(e, c)
	}
	other := client(1)
	l.Visit(other, c)
	l.Visit(server(1), c)
	r := &recording.Machine{}
	l.Fill(r, evidence(c))
	p := r.ClientPorts
	if p == nil || p.Used != 2 || p.Most != 25 || p.Example != 10000 || len(p.Connections) != exampleTuples {
		t.Fatalf("%+v, want 2 ports, 25 connections of port 10000, %d of them listed", p, exampleTuples)
	}
	for i, x := range p.Connections {
		if x.Local != "10.0.0.1:10000" || i > 0 && x.Remote <= p.Connections[i-1].Remote {
			t.Errorf("%+v", x)
		}
	}
}

func TestWithoutConnectingEndsThereAreNoClientPorts(t *testing.T) {
	c := testCaches()
	var none []*kernel.Endpoint
	if r := filled(c, append(none, listener(), server(1))...); r.ClientPorts != nil {
		t.Errorf("%+v", r.ClientPorts)
	}
}
