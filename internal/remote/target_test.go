package remote

import (
	"errors"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/experiment"
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
	good := Options{Options: experiment.Defaults(), Target: "192.0.2.7:8090", Token: peer.NewToken(), Journal: "j"}
	if err := good.Validate(); err != nil {
		t.Errorf("%+v is refused: %v", good, err)
	}
	for says, change := range map[string]func(*Options){
		"--threads-per-connection": func(o *Options) { o.ThreadPerConnection = true },
		"--scenario time-wait":     func(o *Options) { o.Scenario = "time-wait" },
		"--scenario all":           func(o *Options) { o.Scenario = "all" },
		`--target "192.0.2.7"`:     func(o *Options) { o.Target = "192.0.2.7" },
		`--target ":8090"`:         func(o *Options) { o.Target = ":8090" },
		`--target "192.0.2.7:"`:    func(o *Options) { o.Target = "192.0.2.7:" },
		"--after-close":            func(o *Options) { o.AfterClose = experiment.StayMoments },
		"--conntrack":              func(o *Options) { o.Conntrack = true },
		"--cycles 3":               func(o *Options) { o.Cycles = 3 },
		"--journal":                func(o *Options) { o.Journal = "" },
		"--token: it is none":      func(o *Options) { o.Token = "0123456789abcdef" },
		"--payload":                func(o *Options) { o.Payload = 0 },
		"--rmem":                   func(o *Options) { o.Rmem = 64 << 10 },
		"--wmem":                   func(o *Options) { o.Wmem = 64 << 10 },
	} {
		o := good
		change(&o)
		var invalid *experiment.InvalidError
		if err := o.Validate(); !errors.As(err, &invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want an error that says %q", o, err, says)
		}
	}
	for _, scenario := range load.BetweenScenarios {
		o := good
		if o.Scenario = scenario; o.Validate() != nil {
			t.Errorf("scenario %s is refused: %v", scenario, o.Validate())
		}
	}
}

// Whatever addresses a run can have, its plan can name.
func TestAPlanHasRoomForEveryAddress(t *testing.T) {
	if peer.MaxClients < netcfg.MaxClientAddresses {
		t.Errorf("a plan names %d addresses, and netup adds %d", peer.MaxClients, netcfg.MaxClientAddresses)
	}
}

func TestAnErrorOfTheServerNamesIt(t *testing.T) {
	f := &target{options: &Options{Target: "box:8090"}}
	if text := f.refused(&peer.RefusedError{Reason: "no port"}).Error(); text != "connprof serve at box:8090 refuses: no port" {
		t.Error(text)
	}
	if text := f.refused(errors.New("no answer")).Error(); text != "connprof serve at box:8090: no answer" {
		t.Error(text)
	}
}
