package check

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
)

const (
	stock      = "6.12.117+deb12-cloud-amd64"
	preempting = "7.2.13+deb14-cloud-amd64"
)

// good is what a run over 20 addresses with 2,000 connections should leave.
func good() *recording.Machine {
	m := &recording.Machine{
		Host: recording.Host{Kernel: stock, Boot: "a"},
		Load: &recording.Load{End: kernel.RoleBoth, Requested: 2000, Established: 2000},
		Hooks: []recording.Hook{
			{Name: "connect", Function: "tcp_v4_connect", Kind: "kprobe", Attached: true, Hits: 2000},
			{Name: "connect", Function: "tcp_v6_connect", Kind: "kprobe", Attached: true},
			{Name: "accept", Function: "inet_csk_accept", Kind: "kprobe", Attached: true, Hits: 2000},
			{Name: "state", Function: "inet_sock_set_state", Kind: "tracepoint", Attached: true, Hits: 9000},
			{Name: "destroy", Function: "tcp_destroy_sock", Kind: "tracepoint", Attached: true},
			{Name: "slab", Function: "kmem_cache_alloc", Kind: "tracepoint", Attached: true, Hits: 9000},
			{Name: "walk", Function: "tcp", Kind: "iterator", Attached: true, Hits: 4001},
		},
		Trace:     &recording.Trace{ClientOpens: 2000, ServerOpens: 2000, BatchConnections: 2000},
		Reconcile: &recording.Reconcile{SlabDeltaBytes: 1000, UnexplainedRatio: 0.01},
	}
	for _, role := range Roles {
		row := recording.EndpointRow{Role: role, State: "ESTABLISHED", Count: 2000}
		for _, typ := range OneEach {
			row.Objects = append(row.Objects, recording.ObjectRow{Type: typ, Cache: "TCP", Count: 2000, PageBytes: 9})
			m.Trace.Types = append(m.Trace.Types, recording.TypeRow{Role: role, Type: typ, Trace: 2000, Walk: 2000})
			m.Stacks = append(m.Stacks, recording.Stack{Role: role, Type: typ, Bytes: 9, Frames: []string{"main"}})
		}
		m.Endpoints = append(m.Endpoints, row)
	}
	m.Endpoints = append(m.Endpoints, recording.EndpointRow{Role: kernel.RoleListener, State: "LISTEN", Count: 1})
	for i := range 20 {
		m.Addresses = append(m.Addresses, recording.AddressRow{Address: fmt.Sprint("10.0.0.", i), Role: kernel.RoleClient,
			Count: 100})
	}
	m.Addresses = append(m.Addresses, recording.AddressRow{Address: "10.0.1.1", Role: kernel.RoleServer, Count: 2000})
	return m
}

// everything holds an idle run against all that can be said of one.
func everything(m *recording.Machine) []error {
	return []error{Alone(m, kernel.KindKprobe, 20, 2000), Hooks(m), Stacks(m), Caches(m), Notes(m), Listeners(m, 1), Growth(m, 0.03)}
}

func text(errs ...error) string {
	var all []string
	for _, err := range errs {
		if err != nil {
			all = append(all, err.Error())
		}
	}
	return strings.Join(all, "\n")
}

func TestChecksFindWhatIsWrong(t *testing.T) {
	if got := text(everything(good())...); got != "" {
		t.Errorf("a good recording: %s", got)
	}
	for want, spoil := range map[string]func(*recording.Machine){
		"want 2000 of 2000 connections established": func(m *recording.Machine) { m.Load.Established-- },
		"and none failed":                        func(m *recording.Machine) { m.Load.Failed = 1 },
		"connections established, and":           func(m *recording.Machine) { m.Load = nil },
		"hook accept: not among":                 func(m *recording.Machine) { m.Hooks = m.Hooks[:2] },
		"no hook walk":                           func(m *recording.Machine) { m.Hooks = m.Hooks[:6] },
		`kind "tracepoint"`:                      func(m *recording.Machine) { m.Hooks[0].Kind = "tracepoint" },
		"why it has no better one":               func(m *recording.Machine) { m.Hooks[0].Kind = "tracepoint" },
		"attached false":                         func(m *recording.Machine) { m.Hooks[2].Attached = false },
		"want it attached":                       func(m *recording.Machine) { m.Hooks[3].Attached = false },
		"hook accept: 2001 hits":                 func(m *recording.Machine) { m.Hooks[2].Hits++ },
		"RingFull:3":                             func(m *recording.Machine) { m.Losses.RingFull = 3 },
		"RecursionMisses:3":                      func(m *recording.Machine) { m.Losses.RecursionMisses = 3 },
		"19 client addresses":                    func(m *recording.Machine) { m.Addresses = m.Addresses[1:] },
		"99 endpoints on 10.0.0.4":               func(m *recording.Machine) { m.Addresses[4].Count = 99 },
		"7 server endpoints ESTABLISHED":         func(m *recording.Machine) { m.Endpoints[1].Count = 7 },
		"want one row of client endpoints":       func(m *recording.Machine) { m.Endpoints[0].State = "SYN_SENT" },
		"1 epitem of client endpoints":           func(m *recording.Machine) { m.Endpoints[0].Objects[4].Count = 1 },
		"2 listeners, want one a port: 1":        func(m *recording.Machine) { m.Endpoints[2].Count = 2 },
		"counted 5, the walk found 2000":         func(m *recording.Machine) { m.Trace.Types[0].Trace = 5 },
		"counted 2001, the walk found 2000":      func(m *recording.Machine) { m.Trace.Types[3].Trace++ },
		"a batch of 1999 connections":            func(m *recording.Machine) { m.Trace.BatchConnections-- },
		"server file is compared for 0":          func(m *recording.Machine) { m.Trace.Types = nil },
		"the trace saw 1999 client endpoints":    func(m *recording.Machine) { m.Trace.ClientOpens-- },
		"there is no trace":                      func(m *recording.Machine) { m.Trace = nil },
		"stacks of client epitem sum to 8 bytes": func(m *recording.Machine) { m.Stacks[4].Bytes-- },
		"stacks of client cookie, which":         func(m *recording.Machine) { m.Stacks[4].Type = "cookie" },
		"a stack without frames":                 func(m *recording.Machine) { m.Stacks[1].Frames = nil },
		"the server's path has the client's":     func(m *recording.Machine) { m.Stacks[6].Frames = []string{"__sys_connect"} },
		"want a cache, and pages":                func(m *recording.Machine) { m.Endpoints[0].Objects[1].Cache = "" },
		"notes: a doubt":                         func(m *recording.Machine) { m.Notes = []string{"a doubt"} },
		"at most 3.0 % of it unexplained":        func(m *recording.Machine) { m.Reconcile.UnexplainedRatio = 0.04 },
		"want growth of slab memory":             func(m *recording.Machine) { m.Reconcile = nil },
	} {
		m := good()
		spoil(m)
		if got := text(everything(m)...); !strings.Contains(got, want) {
			t.Errorf("want %q in %q", want, got)
		}
	}
}

func TestATraceMayBeShortByWhatTheKernelSkipped(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func(*recording.Machine)
		misses uint64
		want   string // part of the error, empty for none
	}{
		{"nothing is short", func(*recording.Machine) {}, 3, ""},
		{"types by three in all", func(m *recording.Machine) { m.Trace.Types[0].Trace -= 1; m.Trace.Types[7].Trace -= 2 }, 3, ""},
		{"types by four in all", func(m *recording.Machine) { m.Trace.Types[0].Trace -= 2; m.Trace.Types[7].Trace -= 2 }, 3,
			"4 are missing"},
		{"a type has one more", func(m *recording.Machine) { m.Trace.Types[0].Trace++ }, 3, "counted 2001"},
		{"opens by three", func(m *recording.Machine) { m.Trace.ServerOpens -= 3 }, 3, ""},
		{"opens by four", func(m *recording.Machine) { m.Trace.ServerOpens -= 4 }, 3, "1996 server endpoints open"},
		{"one open more", func(m *recording.Machine) { m.Trace.ServerOpens++ }, 3, "2001 server endpoints open"},
		{"the walk lacks an endpoint", func(m *recording.Machine) { m.Endpoints[1].Count-- }, 3, "1999 server endpoints"},
		{"the walk lacks an object", func(m *recording.Machine) { m.Endpoints[0].Objects[0].Count-- }, 3, "1999 tcp_sock"},
		{"another loss", func(m *recording.Machine) { m.Losses.RingFull = 1 }, 3, "RingFull:1"},
		{"accepts by three", func(m *recording.Machine) { m.Losses.AcceptMisses = 3 }, 3, ""},
		{"accepts by four", func(m *recording.Machine) { m.Losses.AcceptMisses = 4 }, 3, "AcceptMisses:4"},
		{"an accept where nothing was skipped", func(m *recording.Machine) { m.Losses.AcceptMisses = 1 }, 0, "AcceptMisses:1"},
	} {
		m := good()
		m.Losses.RecursionMisses = c.misses
		c.spoil(m)
		if got := text(Idle(m, 20, 2000)); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q in it", c.name, got, c.want)
		}
	}
}

func TestOnlyAKernelThatPreemptsProgramsSkipsSomeOnAQuietMachine(t *testing.T) {
	for _, c := range []struct {
		kernel string
		misses uint64
		want   string // part of the error, empty for none
	}{
		{preempting, 0, ""}, {preempting, 3, ""}, {stock, 0, ""}, {stock, 3, "RecursionMisses:3"},
		{"7.20.1", 3, "RecursionMisses:3"}, // a release that only begins alike
	} {
		m := good()
		m.Host.Kernel, m.Losses.RecursionMisses = c.kernel, c.misses
		if got := text(Alone(m, kernel.KindKprobe, 20, 2000)); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestEachRungIsHeldAgainstWhatItCanSee(t *testing.T) {
	for _, c := range []struct {
		wanted, got  kernel.HookKind
		hits, misses uint64
		want         string // part of the error, empty for none
	}{
		{kernel.KindKprobe, kernel.KindKprobe, 2000, 0, ""},
		{kernel.KindFentry, kernel.KindFentry, 2000, 0, ""},
		{kernel.KindTracepoint, kernel.KindTracepoint, 2000, 0, ""},
		{kernel.KindFentry, kernel.KindKprobe, 2000, 0, "want an attached fentry"},
		{kernel.KindKprobe, kernel.KindTracepoint, 2000, 0, "want an attached kprobe"},
		{kernel.KindTracepoint, kernel.KindTracepoint, 1999, 0, "1999 hits"},
		{kernel.KindTracepoint, kernel.KindTracepoint, 1999, 3, ""},
		{kernel.KindTracepoint, kernel.KindTracepoint, 1996, 3, "1996 hits"},
		{kernel.KindTracepoint, kernel.KindTracepoint, 2001, 3, "2001 hits"},
		{kernel.KindFentry, kernel.KindFentry, 1999, 3, "1999 hits"},
		{kernel.KindKprobe, kernel.KindKprobe, 1999, 3, "1999 hits"},
	} {
		m := good()
		m.Host.Kernel, m.Losses.RecursionMisses = preempting, c.misses
		for i := range 3 {
			m.Hooks[i].Kind, m.Hooks[i].Hits = c.got, 0
		}
		m.Hooks[1].Hits, m.Hooks[2].Hits = c.hits, c.hits
		if got := text(Alone(m, c.wanted, 20, 2000)); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestABusyHostMayHaveAnFentryProgramSkipped(t *testing.T) {
	m := good()
	m.Losses.RecursionMisses, m.Hooks[2].Kind, m.Hooks[2].Hits = 1, "fentry", 1999
	if err := Hits(m, kernel.HookAccept, 2000); err != nil {
		t.Error(err)
	}
}

// halfClosed is what that scenario should leave of 2,000 connections.
func halfClosed() *recording.Machine {
	m := good()
	m.Endpoints[0].State, m.Endpoints[1].State = "FIN_WAIT2", "CLOSE_WAIT"
	for _, typ := range []string{"sk_buff_fclones", "skb_head"} {
		m.Endpoints[1].Objects = append(m.Endpoints[1].Objects, recording.ObjectRow{Type: typ, Cache: "skb", Count: 2000, PageBytes: 9})
	}
	return m
}

func TestScenarioChecksFindWhatIsWrong(t *testing.T) {
	scenario, ok := load.FindScenario("half-closed")
	if !ok {
		t.Fatal("there is no such scenario")
	}
	if err := AloneIn(halfClosed(), scenario, 2000); err != nil {
		t.Errorf("a good recording: %v", err)
	}
	for want, spoil := range map[string]func(*recording.Machine){
		"server CLOSE_WAIT: no row":          func(m *recording.Machine) { m.Endpoints[1].State = "ESTABLISHED" },
		"server LISTEN: 1 endpoints, want 0": func(m *recording.Machine) { m.Endpoints[2].Role = kernel.RoleServer },
		"client FIN_WAIT2: 9 endpoints":      func(m *recording.Machine) { m.Endpoints[0].Count = 9 },
		"CLOSE_WAIT: 1999 skb_head":          func(m *recording.Machine) { m.Endpoints[1].Objects[7].Count-- },
		"FIN_WAIT2: 2000 sk_buff_fclones": func(m *recording.Machine) {
			m.Endpoints[0].Objects = append(m.Endpoints[0].Objects, m.Endpoints[1].Objects[6])
		},
		"and none failed":                func(m *recording.Machine) { m.Load.Failed = 1 },
		"WalkSkipped:3":                  func(m *recording.Machine) { m.Losses.WalkSkipped = 3 },
		"want a cache":                   func(m *recording.Machine) { m.Endpoints[0].Objects[1].Cache = "" },
		"and pages that hold":            func(m *recording.Machine) { m.Endpoints[0].Objects[1].PageBytes = 0 },
		"counted 5, the walk found 2000": func(m *recording.Machine) { m.Trace.Types[0].Trace = 5 },
		"a doubt":                        func(m *recording.Machine) { m.Notes = []string{"a doubt"} },
		"counted 1999, the walk found 2000": func(m *recording.Machine) { // what was skipped, was skipped after the batch
			m.Losses.RecursionMisses, m.Trace.Types[0].Trace = 3, 1999
		},
	} {
		m := halfClosed()
		spoil(m)
		if got := text(AloneIn(m, scenario, 2000)); !strings.Contains(got, want) {
			t.Errorf("want %q in %q", want, got)
		}
	}
}

func TestEveryScenarioHasAPromise(t *testing.T) {
	for _, s := range load.Scenarios {
		if _, ok := situations[s.Name]; !ok {
			t.Errorf("no test knows what scenario %s holds", s.Name)
		}
	}
}

// joint is what a run between two machines of one kernel should leave.
func joint() *recording.Recording {
	r := &recording.Recording{Schema: recording.Schema, Kind: recording.KindRun}
	for i, role := range Roles {
		m := good()
		m.Load.End = role
		m.Endpoints, m.Trace.Types = m.Endpoints[i:i+1], m.Trace.Types[i*len(OneEach):(i+1)*len(OneEach)]
		r.Machines = append(r.Machines, m)
	}
	client, server := r.Machines[0], r.Machines[1]
	client.Trace.ServerOpens, server.Trace.ClientOpens = 0, 0
	client.Reconcile.BothEnds, server.Reconcile = true, nil
	return r
}

func TestChecksOfTwoMachinesFindWhatIsWrong(t *testing.T) {
	check := func(r *recording.Recording) string { return text(IdleBetween(r, 2000), OneKernel(r)) }
	if got := check(joint()); got != "" {
		t.Errorf("a good recording: %s", got)
	}
	for want, spoil := range map[string]func(r *recording.Recording, client, server *recording.Machine){
		`schema "x"`:                 func(r *recording.Recording, _, _ *recording.Machine) { r.Schema = "x" },
		"with 1 machines":            func(r *recording.Recording, _, _ *recording.Machine) { r.Machines = r.Machines[:1] },
		"the both and the server":    func(_ *recording.Recording, client, _ *recording.Machine) { client.Load.End = kernel.RoleBoth },
		"at the accepting end":       func(_ *recording.Recording, _, server *recording.Machine) { server.Load.Established-- },
		"and none failed":            func(_ *recording.Recording, client, _ *recording.Machine) { client.Load.Failed++ },
		`ends "" and "a signal"`:     func(_ *recording.Recording, _, server *recording.Machine) { server.Interrupted = "a signal" },
		`interrupted "lost"`:         func(r *recording.Recording, _, _ *recording.Machine) { r.Interrupted = "lost" },
		"2000 server endpoints open": func(_ *recording.Recording, client, _ *recording.Machine) { client.Trace.ServerOpens = 2000 },
		"an object of the other machine": func(_ *recording.Recording, client, server *recording.Machine) {
			client.Trace.Types = append(client.Trace.Types, server.Trace.Types...)
		},
		"the server's machine: 7 server endpoints": func(_ *recording.Recording, _, server *recording.Machine) {
			server.Endpoints[0].Count = 7
		},
		"StackFailures:1": func(_ *recording.Recording, _, server *recording.Machine) { server.Losses.StackFailures = 1 },
		"one reconciliation of both ends": func(_ *recording.Recording, client, _ *recording.Machine) {
			client.Reconcile.BothEnds = false
		},
		"want the same": func(_ *recording.Recording, _, server *recording.Machine) { server.Host.Boot = "b" },
	} {
		r := joint()
		spoil(r, r.Machines[0], r.Machines[1])
		if got := check(r); !strings.Contains(got, want) {
			t.Errorf("want %q in %q", want, got)
		}
	}
}

func TestTwoKernelsAreToldFromOne(t *testing.T) {
	apart := joint()
	apart.Machines[1].Host.Boot, apart.Machines[0].Reconcile.BothEnds = "b", false
	apart.Machines[1].Reconcile = good().Reconcile
	if err := TwoKernels(apart); err != nil {
		t.Error(err)
	}
	apart.Machines[1].Reconcile = nil
	for want, r := range map[string]*recording.Recording{"taken for one kernel": joint(), "a reconciliation of each end": apart} {
		if got := text(TwoKernels(r)); !strings.Contains(got, want) {
			t.Errorf("want %q in %q", want, got)
		}
	}
}

// Goroutines that are started often enough come to lie on the first thread as well.
func TestAThreadOfItsOwnIsNeverTheFirst(t *testing.T) {
	for range 50 {
		tid := make(chan int)
		go OnThreadOfItsOwn(func() { tid <- unix.Gettid() })
		if got := <-tid; got == unix.Getpid() {
			t.Fatal("it is the process's first thread")
		}
	}
}
