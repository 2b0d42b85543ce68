package experiment

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/netcfg"
	"github.com/connprof/connprof/test/check"
)

func TestAPayloadIsHeldAgainstTheBufferThatIsAskedFor(t *testing.T) {
	for _, c := range []struct {
		scenario      string
		payload, rmem int
		says          string // empty where it is accepted
	}{
		{"unread", 64_000, 256_000, ""},
		{"unread", 64_000, 255_996, "--payload 64000"},
		{"unread-client", 64_000, 131_072, "--rmem 256000, or --payload 32768"},
		{"idle", 64_000, 131_072, ""}, // which sends nothing
		{"unread", 64_000, 0, ""},     // the network says
		{"unread", MaxPayload, netcfg.MostBuffer, ""},
		{"unread", MaxPayload + 1, netcfg.MostBuffer, "1 to 268435456 bytes"},
		{"unread", 0, 0, "1 to 268435456 bytes"},
		{"unread", 1, netcfg.LeastBuffer - 1, "--rmem 4095"},
	} {
		o := Defaults()
		o.Scenario, o.Payload, o.Rmem = c.scenario, c.payload, c.rmem
		err := o.Validate()
		var invalid *InvalidError
		if c.says == "" && err != nil || c.says != "" && (!errors.As(err, &invalid) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestAPayloadBeyondTheKernelsBufferIsRefusedBeforeAnythingIsOpened(t *testing.T) {
	p, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, Sockets: 2})
	if err != nil {
		t.Fatal(err)
	}
	receive, _, err := p.Buffers()
	p.Close()
	if err != nil {
		t.Fatal(err)
	}
	o := options(10)
	o.Scenario, o.Payload = "unread", receive.First/4+1
	rec, err := Run(t.Context(), o)
	for _, want := range []string{"net.ipv4.tcp_rmem is " + receive.String(), fmt.Sprintf("give --rmem %d", 4*o.Payload),
		fmt.Sprintf("or --payload %d", o.Payload-1)} {
		if err == nil || rec != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v; want an error that says %q", rec, err, want)
		}
	}
}

// The walk counts every byte, and the plan more than the kernel books for them.
func TestALargePayloadIsInTheReceiversQueue(t *testing.T) {
	const n, payload = 20, 1_000_000
	for _, scenario := range []string{"unread", "unread-client", "sendfile"} {
		o := options(n)
		o.Scenario, o.Payload, o.Rmem, o.Wmem = scenario, payload, 4*payload, 64<<10
		rec := mustRun(t, o)
		s, _ := load.FindScenario(scenario)
		if err := errors.Join(check.Load(rec, n), check.Losses(rec)); err != nil {
			t.Error(err)
		}
		if l := rec.Load; l.PayloadBytes != payload || l.UnreadBytes != n*payload || l.UnackedBytes != 0 {
			t.Errorf("%s: %d bytes a connection, %d unread, %d not acknowledged", scenario, l.PayloadBytes, l.UnreadBytes, l.UnackedBytes)
		}
		for _, row := range rec.Endpoints {
			each := row.BufferBytes / uint64(row.Count)
			if s.Holds(row.Role) != (each >= payload) || each > limits.Booked(payload, false) {
				t.Errorf("%s: %d buffer bytes on each %s endpoint; the plan has %d", scenario, each, row.Role, limits.Booked(payload, false))
			}
		}
	}
}

func TestConnectionsThatNobodyAcceptsHaveToFitIntoTheQueues(t *testing.T) {
	for _, c := range []struct {
		scenario string
		conns    int
		fits     bool
	}{{"unaccepted", 200, true}, {"unaccepted", 201, false}, {"syn-recv", 201, false}, {"idle", 201, true}} {
		s := &Stage{plan: &Plan{Conns: c.conns}, network: &netcfg.Private{Backlog: 100}}
		s.plan.Options.Ports = 2
		s.plan.Scenario, _ = load.FindScenario(c.scenario)
		if err := s.fitBacklog(); (err == nil) != c.fits || err != nil && !strings.Contains(err.Error(), "lower --conns to 200") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Of both families, at the ends of the range and between them: a run each, which an emulated processor takes seconds for.
func TestAQuarterOfTheBufferHoldsData(t *testing.T) {
	const n = 20
	for _, c := range []struct {
		rmem int
		ipv6 bool
	}{{netcfg.LeastBuffer, false}, {netcfg.LeastBuffer, true}, {128 << 10, false}, {16 << 20, true}} {
		o := options(n)
		o.Scenario, o.Rmem, o.Payload, o.IPv6 = "unread", c.rmem, c.rmem/shareOfData, c.ipv6
		rec := mustRun(t, o)
		if err := check.Load(rec, n); err != nil || rec.Load.UnreadBytes != uint64(n*o.Payload) {
			t.Errorf("a buffer of %d bytes: %d of %d bytes are unread; %v", c.rmem, rec.Load.UnreadBytes, n*o.Payload, err)
		}
	}
}

func TestTheWalkSaysWhichEndsAreShort(t *testing.T) {
	type end struct {
		role         kernel.Role
		unread, wmem uint32
	}
	for _, c := range []struct {
		scenario string
		end      end
		arrived  bool
	}{
		{"unread", end{kernel.RoleServer, 4096, 0}, true},
		{"unread", end{kernel.RoleServer, 4095, 0}, false},
		{"unread", end{kernel.RoleClient, 0, 0}, true},
		{"unread-client", end{kernel.RoleClient, 4095, 0}, false},
		{"unaccepted", end{kernel.RoleServer, 4095, 0}, false},
		{"unaccepted", end{kernel.RoleListener, 0, 0}, true},
		{"backpressure", end{kernel.RoleServer, 1, filledSend}, true},
		{"backpressure", end{kernel.RoleServer, 1, filledSend - 1}, false},
		{"backpressure", end{kernel.RoleClient, 0, filledSend}, false},
		{"backpressure", end{kernel.RoleListener, 0, 0}, true},
	} {
		s, _ := load.FindScenario(c.scenario)
		o := Defaults()
		o.Scenario = c.scenario
		e := &kernel.Endpoint{State: kernel.StateEstablished, Live: kernel.Live{Unread: c.end.unread}, Buffers: kernel.Buffers{Wmem: c.end.wmem}}
		if got := arrived(s, &o)(c.end.role, e); got != c.arrived {
			t.Errorf("%+v: arrived is %v", c, got)
		}
	}
}

func TestFullQueuesCountInThePlan(t *testing.T) {
	o := Defaults()
	o.Scenario, o.Conns = "backpressure", 100
	least := uint64(2 * 100 * (filledReceive + filledSend))
	if err := planOn(t, o, 2*least, nil).fitMemory(limits.ConnectionBytes); err == nil {
		t.Errorf("full queues of %d bytes fit into half of twice as many", least)
	}
	pages := fmt.Sprintf("10 20 %d", least/4096)
	if err := planOn(t, o, plenty, map[string]string{"net/ipv4/tcp_mem": pages}).fitLimits(2500, 2500); err == nil ||
		!strings.Contains(err.Error(), "net.ipv4.tcp_mem") {
		t.Errorf("full queues of %d bytes fit into tcp_mem of %s: %v", least, pages, err)
	}
	if err := planOn(t, o, 5*least, nil).fitMemory(limits.ConnectionBytes); err != nil {
		t.Error(err)
	}
	o.Wmem = 1 << 20
	if err := planOn(t, o, 5*least, nil).fitMemory(limits.ConnectionBytes); err == nil {
		t.Error("a larger send buffer counts for nothing")
	}
}
