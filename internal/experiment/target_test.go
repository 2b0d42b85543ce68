package experiment

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/remote/peer"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/netcfg"
)

func TestTargetsAreResolved(t *testing.T) {
	for _, c := range []struct {
		target string
		ipv6   bool
		want   string // empty: an error that says
		says   string
	}{
		{"192.0.2.7:8090", false, "192.0.2.7:8090", ""},
		{"[2001:db8::7]:8090", false, "[2001:db8::7]:8090", ""},
		{"[2001:db8::7]:8090", true, "[2001:db8::7]:8090", ""},
		{"[::ffff:192.0.2.7]:8090", true, "", "--ipv6"},
		{"localhost:8090", false, "127.0.0.1:8090", ""},
		{"192.0.2.7:8090", true, "", "--ipv6"},
		{"[fe80::1%lo]:8090", false, "", "link-local"},
		{"[fe80::1]:8090", false, "", "link-local"},
		{"no such host:8090", false, "", "no such host"},
		{"192.0.2.7", false, "", "HOST:PORT"},
		{"192.0.2.7:80900", false, "", "80900"},
	} {
		got, err := resolve(c.target, c.ipv6)
		switch {
		case c.want != "" && (err != nil || got.String() != c.want):
			t.Errorf("resolve(%q, %v) = %v, %v; want %s", c.target, c.ipv6, got, err, c.want)
		case c.want == "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("resolve(%q, %v) = %v, %v; want an error that says %q", c.target, c.ipv6, got, err, c.says)
		}
	}
}

func TestOptionsThatMakeNoSenseBetweenTwoMachines(t *testing.T) {
	good := Options{Target: "192.0.2.7:8090", Token: peer.NewToken(), Journal: "j", Scenario: "idle"}
	if err := CheckTarget(good); err != nil {
		t.Errorf("%+v is refused: %v", good, err)
	}
	for says, change := range map[string]func(*Options){
		"--threads-per-connection": func(o *Options) { o.ThreadPerConnection = true },
		"--scenario time-wait":     func(o *Options) { o.Scenario = "time-wait" },
		"--scenario all":           func(o *Options) { o.Scenario = "all" },
		`--target "192.0.2.7"`:     func(o *Options) { o.Target = "192.0.2.7" },
		`--target ":8090"`:         func(o *Options) { o.Target = ":8090" },
		`--target "192.0.2.7:"`:    func(o *Options) { o.Target = "192.0.2.7:" },
		"--journal":                func(o *Options) { o.Journal = "" },
		"--token: it is none":      func(o *Options) { o.Token = "0123456789abcdef" },
	} {
		o := good
		change(&o)
		if err := CheckTarget(o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want an error that says %q", o, err, says)
		}
	}
	for _, scenario := range load.BetweenScenarios {
		o := good
		if o.Scenario = scenario; CheckTarget(o) != nil {
			t.Errorf("scenario %s is refused: %v", scenario, CheckTarget(o))
		}
	}
}

// Whatever addresses a run can have, its plan can name.
func TestAPlanHasRoomForEveryAddress(t *testing.T) {
	if peer.MaxClients < netcfg.MaxClientAddresses {
		t.Errorf("a plan names %d addresses, and netup adds %d", peer.MaxClients, netcfg.MaxClientAddresses)
	}
}

func TestEachEndKnowsItsOwnEndpoints(t *testing.T) {
	const server, client, other = "10.0.0.2", "10.0.0.1", "10.0.0.3"
	at := netip.MustParseAddrPort
	for _, end := range []kernel.Role{kernel.RoleClient, kernel.RoleServer} {
		b := &between{end: end, server: netip.MustParseAddr(server)}
		b.setClients([]netip.Addr{netip.MustParseAddr(client)})
		b.setPorts(8091, 3)
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
	if !(*between)(nil).owns(&kernel.Endpoint{}) {
		t.Error("a run with both ends here does not own what is in its namespace")
	}
}

func TestMemoryGrowsByTheEndsThatThisKernelHas(t *testing.T) {
	for want, list := range map[int][]*between{2: {nil, {oneKernel: true}}, 1: {{}}} {
		for _, b := range list {
			if got := b.ends(); got != want {
				t.Errorf("%+v has %d ends of a connection here, want %d", b, got, want)
			}
		}
	}
}

func TestEachEndCountsWhatItCanKnow(t *testing.T) {
	p := load.Progress{Established: 7, Accepted: 5}
	if got := (&runner{}).up(p); got != 5 {
		t.Errorf("%d are up of %+v with both ends here", got, p)
	}
	if got := (&runner{between: &between{end: kernel.RoleServer}}).up(load.Progress{Established: 3, Accepted: 5}); got != 5 {
		t.Errorf("the accepting end counts %d of its 5, for the client's last word is late", got)
	}
	if got := (&runner{between: &between{end: kernel.RoleClient}, far: &far{}}).up(p); got != 5 {
		t.Errorf("the connecting end counts %d, of which 5 are up at both ends", got)
	}
}

func TestAnErrorOfTheServerNamesIt(t *testing.T) {
	f := &far{name: "box:8090"}
	if text := f.refused(&peer.RefusedError{Reason: "no port"}).Error(); text != "connprof serve at box:8090 refuses: no port" {
		t.Error(text)
	}
	if text := f.refused(errors.New("no answer")).Error(); text != "connprof serve at box:8090: no answer" {
		t.Error(text)
	}
}
