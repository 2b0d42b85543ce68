package experiment

import (
	"fmt"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/load"
)

// planOn is a plan for a made-up host with the given memory and with texts in some files below /proc/sys.
func planOn(t *testing.T, o Options, memory uint64, files map[string]string) *Plan {
	t.Helper()
	all := map[string]string{"/proc/net/sockstat": "sockets: used 9\nTCP: inuse 7 orphan 0 tw 0 alloc 8 mem 4"}
	for path, text := range files {
		all["/proc/sys/"+path] = text
	}
	p := &Plan{Options: o, Ends: BothHere(), Conns: o.Conns, memory: limits.Memory{AvailableBytes: memory, Limit: limits.MemAvailable},
		readings: limits.Read(limits.Host{Root: madeUpFiles(t, all), SoftFiles: func() (uint64, error) { return limits.NoLimit, nil }})}
	p.Scenario, _ = load.FindScenario(o.Scenario)
	return p
}

const plenty = 1 << 40

func TestQueuedDataBeyondWhatTheHostAllowsIsRefusedBeforehand(t *testing.T) {
	o := Defaults()
	o.Scenario, o.Payload, o.Conns = "unread", 32768, 400
	tcpMem := map[string]string{"net/ipv4/tcp_mem": "10 20 2000"}
	err := planOn(t, o, plenty, tcpMem).fitLimits(2500, 2500)
	if err == nil || !strings.Contains(err.Error(), "of queued data (net.ipv4.tcp_mem) and it is 8 MiB; lower --conns to 221 or run: sysctl -w "+
		"net.ipv4.tcp_mem='2703 3604 5406'") {
		t.Errorf("with a payload: %v", err)
	}
	unasked := o
	unasked.Conns = 0
	p := planOn(t, unasked, plenty, tcpMem)
	p.Conns = 400
	if err := p.fitLimits(2500, 2500); err != nil || p.Conns != 221 || !strings.Contains(p.Capped, "net.ipv4.tcp_mem") {
		t.Errorf("a number that nobody asked for: %d (%s), %v", p.Conns, p.Capped, err)
	}
	o.Scenario, o.Conns = "idle", 5000
	if err := planOn(t, o, plenty, tcpMem).fitLimits(2500, 2500); err != nil {
		t.Errorf("without a payload: %v", err)
	}
}

// The data that is to be queued takes memory as well, and no more than it does.
func TestQueuedDataCountsAsMemory(t *testing.T) {
	o := Defaults()
	o.Conns = 1000
	for scenario, most := range map[string]uint64{"idle": 20 << 20, "unread": 100 << 20} {
		o.Scenario, o.Payload = scenario, 32768
		if err := planOn(t, o, most, nil).fitMemory(limits.ConnectionBytes); err != nil {
			t.Errorf("%s: %v", scenario, err)
		}
	}
	o.Scenario = "unread"
	if err := planOn(t, o, 60<<20, nil).fitMemory(limits.ConnectionBytes); err == nil {
		t.Error("1,000 times 32 KiB fit into 30 MiB")
	}
}

func TestThePlanMadeAnewDoesNotContradictTheBatch(t *testing.T) {
	o := Defaults()
	for _, c := range []struct {
		scenario string
		memory   uint64
	}{{"idle", 20 << 20}, {"unread", 250 << 20}, {"idle", 12 << 30}} {
		o.Scenario, o.Payload, o.AllowMemory = c.scenario, 32768, 50
		p := planOn(t, o, c.memory, nil)
		p.Conns = 1_000_000
		if err := p.fitMemory(limits.LeastConnectionBytes); err != nil {
			t.Fatal(err)
		}
		first, batch, sure := p.Conns, p.batchSize(), p.sure()
		if batch > batchConnections || batch < 1 || batch > sure || sure > first {
			t.Errorf("%+v: a batch of %d of %d", c, batch, first)
		}
		for _, cost := range []uint64{2600, 4000, 8000} {
			again := *p
			if _, err := again.Replan(cost, cost); err != nil {
				t.Errorf("%+v at %d bytes an endpoint: %v", c, cost, err)
			}
			if again.Conns < sure || again.Conns > first || again.Conns < 1_000_000 && !strings.Contains(again.Capped, "memory") {
				t.Errorf("%+v at %d bytes an endpoint: %d of %d, %d are open (%s)", c, cost, again.Conns, first, sure, again.Capped)
			}
			if err := limits.CheckMemory(again.Conns, again.memory, o.AllowMemory, again.allOf(2*cost)); err != nil {
				t.Errorf("%+v at %d bytes an endpoint: %v", c, cost, err)
			}
		}
	}
}

func TestTheAdviceIsEnoughForTheWholeRun(t *testing.T) {
	o := Defaults()
	o.Conns = 2_000_000
	files := map[string]string{"fs/epoll/max_user_watches": "8000000"}
	host := func(most int) *Plan {
		files["fs/file-nr"] = fmt.Sprintf("312 0 %d", most)
		return planOn(t, o, plenty, files)
	}
	err := host(2_466_183).fitLimits(2500, 2500)
	if err == nil {
		t.Fatal("four million files fit into 2,466,183")
	}
	var advised int
	if _, scan := fmt.Sscanf(err.Error()[strings.Index(err.Error(), "fs.file-max="):], "fs.file-max=%d", &advised); scan != nil {
		t.Fatalf("no advice in %q: %v", err, scan)
	}
	p := host(advised)
	if err := p.fitLimits(2500, 2500); err != nil {
		t.Errorf("with what was advised: %v", err)
	}
	if _, err := p.Replan(4000, 4000); err != nil {
		t.Errorf("after the batch: %v", err)
	}
	if left := (limits.FileTable{Used: 312 + 4_000_000, Max: uint64(advised)}).Left(); left == 0 {
		t.Error("with all connections open the guard of the file table stops the run")
	}
}

func TestAMemoryCgroupHoldsTheRunItselfToo(t *testing.T) {
	for memory, fits := range map[uint64]bool{ownMemory: false, 100 << 20: true} {
		p := planOn(t, Defaults(), memory, nil)
		p.memory.Limit = "/sys/fs/cgroup/box/memory.max"
		err := p.fitCgroup()
		if (err == nil) != fits || err != nil && !strings.Contains(err.Error(), "box/memory.max") {
			t.Errorf("%d bytes: %v", memory, err)
		}
		if fits && p.memory.AvailableBytes != memory-ownMemory {
			t.Errorf("%d bytes are left for the connections", p.memory.AvailableBytes)
		}
	}
}

func TestARemedyNamesOnlyWhatHelps(t *testing.T) {
	for _, c := range []struct {
		fix   string
		holds uint64
		want  string
	}{{"sysctl -w a=1", 5, "lower --conns to 5 or run: sysctl -w a=1"}, {"sysctl -w a=1", 0, "run: sysctl -w a=1"},
		{"", 5, "lower --conns to 5"}, {"", 0, "this host can hold none"}} {
		if got := remedy(limits.Row{Fix: c.fix}, c.holds); got != c.want {
			t.Errorf("%q for %d: %q, want %q", c.fix, c.holds, got, c.want)
		}
	}
}
