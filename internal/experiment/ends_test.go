package experiment

import (
	"net/netip"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/load"
)

func TestEachEndKnowsItsOwnEndpoints(t *testing.T) {
	const server, client, other = "10.0.0.2", "10.0.0.1", "10.0.0.3"
	at := netip.MustParseAddrPort
	for _, end := range []kernel.Role{kernel.RoleClient, kernel.RoleServer} {
		b := &Ends{Here: end, Server: netip.MustParseAddr(server)}
		b.SetClients([]netip.Addr{netip.MustParseAddr(client)})
		b.SetPorts(8091, 3)
		for _, c := range []struct {
			client, server string
			want           bool
		}{
			{client + ":40000", server + ":8091", true}, {client + ":40000", server + ":8093", true},
			{"[::ffff:" + client + "]:40000", "[::ffff:" + server + "]:8092", true},
			{client + ":40000", server + ":8090", false}, {client + ":40000", server + ":8094", false},
			{other + ":40000", server + ":8091", false}, {client + ":40000", other + ":8091", false},
			{client + ":8091", server + ":40000", false},
		} {
			near, far := at(c.client), at(c.server)
			if end == kernel.RoleServer {
				near, far = far, near
			}
			if got := b.owns(&kernel.Endpoint{Local: near, Remote: far, State: kernel.StateEstablished}); got != c.want {
				t.Errorf("the %s end owns %s to %s: %v", end, c.client, c.server, got)
			}
			if b.owns(&kernel.Endpoint{Local: far, Remote: near, State: kernel.StateEstablished}) {
				t.Errorf("the %s end owns the other end of %s to %s", end, c.client, c.server)
			}
		}
		listener := &kernel.Endpoint{Local: at(server + ":8091"), State: kernel.StateListen}
		if got := b.owns(listener); got != (end == kernel.RoleServer) {
			t.Errorf("the %s end owns the listener: %v", end, got)
		}
	}
	if !BothHere().owns(&kernel.Endpoint{}) {
		t.Error("a run with both ends here does not own what is in its namespace")
	}
}

func TestMemoryGrowsByTheEndsThatThisKernelHas(t *testing.T) {
	for want, list := range map[int][]*Ends{2: {BothHere(), {Here: kernel.RoleClient, OneKernel: true}}, 1: {{Here: kernel.RoleClient}}} {
		for _, b := range list {
			if got := b.inKernel(); got != want {
				t.Errorf("%+v has %d ends of a connection here, want %d", b, got, want)
			}
		}
	}
}

func TestEachEndCountsWhatItCanKnow(t *testing.T) {
	p := load.Progress{Established: 7, Accepted: 5}
	for _, c := range []struct {
		what string
		here kernel.Role
		lost bool
		want int
	}{
		{"both ends", kernel.RoleBoth, false, 5},
		{"the accepting end, where the client's last word is late", kernel.RoleServer, false, 5},
		{"the connecting end, of what is up at both", kernel.RoleClient, false, 5},
		{"the connecting end alone", kernel.RoleClient, true, 7},
	} {
		s := &Stage{plan: &Plan{Ends: &Ends{Here: c.here}}}
		if got := s.up(p, c.lost); got != c.want {
			t.Errorf("%s counts %d of %+v, want %d", c.what, got, p, c.want)
		}
	}
}
