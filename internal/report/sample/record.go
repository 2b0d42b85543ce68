package sample

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Recorded is a record of a minute on a host where a Go service leaks the connections of one path, a pool in C has filled up and
// stays, a Python job is refused, and nginx accepts. Openers add up to the record, and their bytes to the endpoints'.
func Recorded() *recording.Recording {
	m := &recording.Machine{
		Host:  recording.Host{Boot: "boot 1", Kernel: "6.18.5", CPUs: 8, MemoryBytes: 24 << 30, Machine: "x86_64"},
		Cost:  recording.Cost{ProfilerRSSBytes: 61 << 20, BPFMapBytes: 22 << 20, WalkSeconds: 0.031, CPUSeconds: 0.41, Events: 31_400},
		Hooks: recordHooks(),
		Look: &recording.Look{Namespaces: 2, Seconds: 60.4, By: []string{"process"}, Calibration: recording.CalibratedOnce,
			Listeners: []recording.Listener{{Netns: netnsHost, Address: "0.0.0.0:443", PID: 1811, Comm: "nginx", Backlog: 511}}},
		Reconcile: &recording.Reconcile{SlabDeltaBytes: 9_437_184, AccountedPageBytes: 3_248_128},
	}
	b := &recordBuilder{m: m, at: map[recording.Location]int{}}
	b.leak()
	b.pool()
	b.job()
	b.nginx()
	b.others()
	b.sum()
	addLiveBooks(m)
	r := recordingOf(m)
	r.Kind, r.Command = recording.KindRecord, []string{"connprof", "record", "--duration", "60s", "-o", "record.json"}
	return r
}

func recordHooks() []recording.Hook {
	return []recording.Hook{
		{Name: kernel.HookState, Function: "inet_sock_set_state", Kind: kernel.KindTracepoint, Attached: true, Hits: 24_120},
		{Name: kernel.HookDestroy, Function: "tcp_destroy_sock", Kind: kernel.KindTracepoint, Attached: true, Hits: 7_214},
		{Name: kernel.HookWalk, Function: "tcp", Kind: kernel.KindIterator, Attached: true, Hits: 2_114},
	}
}

// recordBuilder gives each place in code one location.
type recordBuilder struct {
	m  *recording.Machine
	at map[recording.Location]int
}

// opener adds an opener with its frames, root first: "function file:line", ~ before what is inlined into the frame before it. The
// frames from a "module:" on lie in that.
func (b *recordBuilder) opener(o recording.Opener, frames ...string) *recording.Opener {
	module, address := recording.Location{}, uint64(0)
	for _, text := range frames {
		if name, is := strings.CutSuffix(text, ":"); is {
			if module, address = mappings[name], mappings[name].Offset; module.Start < 1<<32 || module.Module == "[jit]" {
				address = module.Start // it lies where the file says
			}
			continue
		}
		l := module
		name, place, _ := strings.Cut(text, " ")
		l.Function, l.Inlined = strings.CutPrefix(name, "~")
		file, line, _ := strings.Cut(place, ":")
		l.File = file
		l.Line, _ = strconv.Atoi(line)
		if !l.Inlined {
			address += 0x1c0
		}
		if l.Address = address; l.Function == "?" {
			l.Function = ""
		}
		i, known := b.at[l]
		if !known {
			i = len(b.m.Locations)
			b.at[l], b.m.Locations = i, append(b.m.Locations, l)
		}
		if name = l.Function; name == "" {
			name = fmt.Sprintf("%s+%#x", l.Module[strings.LastIndexByte(l.Module, '/')+1:], l.Address)
		}
		o.Frames, o.Locations = append(o.Frames, name), append(o.Locations, i)
	}
	b.m.Openers = append(b.m.Openers, o)
	return &b.m.Openers[len(b.m.Openers)-1]
}

// mappings are the files that the sample's code is in.
var mappings = map[string]recording.Location{
	"libc": {Module: "/usr/lib/x86_64-linux-gnu/libc.so.6", BuildID: "a43bfc8428df6623cd498c9c0caeb91aec9be4f9", Start: 0x7f3a10026000,
		Limit: 0x7f3a1017b000, Offset: 0x26000},
	"api": {Module: "/app/api", BuildID: "5f0c1e2d3a4b", Start: 0x401000, Limit: 0x7c0000, Offset: 0x1000},
	"shop": {Module: "/usr/bin/shop", BuildID: "0dd1f2a3b4c5", Start: 0x55d0c0001000, Limit: 0x55d0c00a0000,
		Offset: 0x1000},
	"python":   {Module: "/usr/bin/python3.12", BuildID: "77aa11bb22cc", Start: 0x41f000, Limit: 0x6c0000, Offset: 0x1f000},
	"_socket":  {Module: "/usr/lib/python3.12/lib-dynload/_socket.cpython-312-x86_64-linux-gnu.so", Start: 0x7f11d0003000, Limit: 0x7f11d000f000, Offset: 0x3000},
	"perf":     {Module: "[jit]", Start: 0x7f11e0000000, Limit: 0x7f11e0010000},
	"nginx":    {Module: "/usr/sbin/nginx", BuildID: "c0ffee00c0ffee00", Start: 0x55aa00020000, Limit: 0x55aa00110000, Offset: 0x20000},
	"stripped": {Module: "/opt/legacy/legacyd", Start: 0x400000, Limit: 0x480000},
}

// lived are lifetimes.
func lived(p50, p90, p99 float64) *recording.Percentiles {
	return &recording.Percentiles{P50: p50, P90: p90, P99: p99}
}

// leak is the path that never closes what its peers have closed.
func (b *recordBuilder) leak() {
	b.opener(recording.Opener{Kind: recording.OpenerPath, PID: 4711, Comm: "api", Container: containerA, Role: kernel.RoleClient,
		Stack: recording.StackWhole, Opened: 1_212, Closed: 912, Failed: 12, Live: 300, Lifetime: lived(1.75, 8, 30),
		States: []recording.StateCount{{State: "CLOSE_WAIT", Count: 280}, {State: "ESTABLISHED", Count: 20}},
		Peers:  []recording.PeerCount{{Peer: "10.0.3.7:5432", Count: 300}}, Idle: idle(30, 58),
		Errors: []recording.OpenerError{{Error: "ECONNREFUSED", Count: 12}}, Tenths: []int{28, 61, 90, 122, 149, 181, 209, 241, 272, 300}},
		"api:", "runtime.goexit /usr/local/go/src/runtime/asm_amd64.s:1700", "net/http.(*Server).Serve.gowrap3 /usr/local/go/src/net/http/server.go:3454",
		"net/http.(*conn).serve /usr/local/go/src/net/http/server.go:2102", "~net/http.serverHandler.ServeHTTP /usr/local/go/src/net/http/server.go:3301",
		"main.(*Handler).ServeHTTP /src/api/handler.go:120", "github.com/acme/api/pool.(*Pool).Get /src/api/pool/pool.go:51",
		"github.com/acme/api/pool.(*Pool).dial /src/api/pool/pool.go:88", "net.(*Dialer).DialContext /usr/local/go/src/net/dial.go:523",
		"net.(*sysDialer).doDialTCP /usr/local/go/src/net/tcpsock_posix.go:85", "net.socket /usr/local/go/src/net/sock_posix.go:70",
		"net.(*netFD).connect /usr/local/go/src/net/fd_unix.go:118", "~syscall.connect /usr/local/go/src/syscall/zsyscall_linux_amd64.go:1489",
		"syscall.Syscall /usr/local/go/src/syscall/syscall_linux.go:73", "internal/runtime/syscall.Syscall6 /usr/local/go/src/internal/runtime/syscall/asm_linux_amd64.s:36")
}

// pool is filled up once, and stays.
func (b *recordBuilder) pool() {
	full := make([]int, 10)
	for i := range full {
		full[i] = 40
	}
	b.opener(recording.Opener{Kind: recording.OpenerPath, PID: 5120, Comm: "shop", Role: kernel.RoleClient, Stack: recording.StackWhole,
		Opened: 40, Live: 40, LiveRxBytes: 81_920, States: []recording.StateCount{{State: "ESTABLISHED", Count: 40}},
		Peers: []recording.PeerCount{{Peer: "10.0.3.7:5432", Count: 24}, {Peer: "10.0.3.8:5432", Count: 16}}, Idle: idle(2, 41), Tenths: full},
		"shop:", "_start", "libc:", "__libc_start_main", "shop:", "main /src/shop/main.cc:40", "~Shop::run() /src/shop/shop.cc:212",
		"db::Pool<db::Postgres>::fill(int) /src/shop/pool.cc:77", "libc:", "connect")
}

// job is refused.
func (b *recordBuilder) job() {
	b.opener(recording.Opener{Kind: recording.OpenerPath, PID: 6001, Comm: "python3", Role: kernel.RoleClient, Stack: recording.StackPart,
		Why: "no unwind information in python3.12", Opened: 900, Closed: 900, Failed: 840, Lifetime: lived(0.02, 0.05, 1.1),
		Errors: []recording.OpenerError{{Error: "ECONNREFUSED", Count: 800}, {Error: "ETIMEDOUT", Count: 40}}, Tenths: make([]int, 10)},
		"perf:", "py::main:/srv/job/job.py", "py::fetch:/srv/job/fetch.py", "py::create_connection:/usr/lib/python3.12/socket.py",
		"python:", "_PyEval_EvalFrameDefault", "cfunction_vectorcall_O", "_socket:", "sock_connect", "libc:", "__libc_connect")
}

// nginx accepts, and asks what is behind it.
func (b *recordBuilder) nginx() {
	worker := []string{"nginx:", "_start", "libc:", "__libc_start_main", "nginx:", "main src/core/nginx.c:383",
		"ngx_master_process_cycle src/os/unix/ngx_process_cycle.c:133", "ngx_start_worker_processes src/os/unix/ngx_process_cycle.c:344",
		"ngx_spawn_process src/os/unix/ngx_process.c:199", "ngx_worker_process_cycle src/os/unix/ngx_process_cycle.c:721",
		"ngx_process_events_and_timers src/event/ngx_event.c:248", "ngx_epoll_process_events src/event/modules/ngx_epoll_module.c:901"}
	b.opener(recording.Opener{Kind: recording.OpenerPath, PID: 1812, PIDs: []int{1812, 1813, 1814, 1815}, Comm: "nginx", Role: kernel.RoleServer, Stack: recording.StackWhole,
		Opened: 6_004, Closed: 5_714, Live: 290, LiveTxBytes: 655_360, Lifetime: lived(4, 22, 50),
		States: []recording.StateCount{{State: "ESTABLISHED", Count: 281}, {State: "FIN_WAIT2", Count: 9}},
		Peers:  []recording.PeerCount{{Peer: "203.0.113.9", Count: 122}, {Peer: "198.51.100.4", Count: 61}, {Peer: "203.0.113.77", Count: 30}},
		Idle:   idle(3, 44), Tenths: []int{240, 266, 281, 277, 290, 301, 288, 295, 284, 290}},
		append(slices.Clone(worker), "ngx_event_accept src/event/ngx_event_accept.c:57", "libc:", "accept4")...)
	b.opener(recording.Opener{Kind: recording.OpenerPath, PID: 1812, Comm: "nginx", Role: kernel.RoleClient, Stack: recording.StackWhole,
		Opened: 4_801, Closed: 4_773, Failed: 3, Live: 28, Lifetime: lived(0.11, 0.4, 2.25),
		States: []recording.StateCount{{State: "ESTABLISHED", Count: 28}}, Peers: []recording.PeerCount{{Peer: "10.0.5.2:8080", Count: 28}},
		Idle: idle(0, 1), Errors: []recording.OpenerError{{Error: "closed by the program", Count: 3}},
		Tenths: []int{31, 22, 40, 18, 25, 27, 33, 21, 30, 28}},
		append(worker, "ngx_http_process_request src/http/ngx_http_request.c:2090", "ngx_http_proxy_handler src/http/modules/ngx_http_proxy_module.c:1022",
			"ngx_http_upstream_init_request src/http/ngx_http_upstream.c:824", "ngx_http_upstream_connect src/http/ngx_http_upstream.c:1560",
			"ngx_event_connect_peer src/event/ngx_event_connect.c:211", "libc:", "connect")...)
}

// others have no code, or none with names.
func (b *recordBuilder) others() {
	open := func(n int) []recording.StateCount { return []recording.StateCount{{State: "ESTABLISHED", Count: n}} }
	b.opener(recording.Opener{Kind: recording.OpenerPath, PID: 880, Comm: "legacyd", Role: kernel.RoleClient, Stack: recording.StackPart,
		Why: "no unwind information in legacyd", Opened: 11, Closed: 1, Live: 10, States: open(10), Lifetime: lived(44, 44, 44),
		Peers: []recording.PeerCount{{Peer: "10.0.9.9:21", Count: 10}}}, "stripped:", "?", "?", "?")
	b.opener(recording.Opener{Kind: recording.OpenerProcess, PID: 7002, Comm: "curl", Role: kernel.RoleClient, Stack: recording.StackNone,
		Why: "the process was gone before its code was read", Opened: 6, Closed: 6, Lifetime: lived(0.3, 0.4, 0.4)})
	b.opener(recording.Opener{Kind: recording.OpenerListener, PID: 9120, Comm: "apid", Role: kernel.RoleServer, Stack: recording.StackNone,
		Netns: netnsHost, Listener: "0.0.0.0:8443", Why: "accept() was not seen", Opened: 31, Closed: 3, Live: 28, States: open(28),
		Peers: []recording.PeerCount{{Peer: "192.0.2.4", Count: 28}}})
	b.opener(recording.Opener{Kind: recording.OpenerKernel, Comm: "kworker/u16:2", Role: kernel.RoleClient, Stack: recording.StackNone,
		Opened: 1, Live: 1, States: open(1), Peers: []recording.PeerCount{{Peer: "10.0.0.20:2049", Count: 1}}})
	b.opener(recording.Opener{Kind: recording.OpenerBefore, Closed: 77, Live: 812, LiveRxBytes: 1_048_576, Idle: idle(301, 86_000),
		States: open(812)})
	b.opener(recording.Opener{Kind: recording.OpenerUnseen, Live: 1, States: open(1)})
	b.opener(recording.Opener{Kind: recording.OpenerOther, Role: kernel.RoleClient, Opened: 25, Closed: 25})
}

// sum adds a group for each state of an opener, and gives the opener what its groups hold.
func (b *recordBuilder) sum() {
	m := b.m
	rec := &recording.Record{Seconds: 60, Before: 889, BeforeClosed: 77, Unseen: 1, NeverConnected: 14,
		Stacks: recording.StackShare{Whole: 12_057, Part: 911, None: 63, Copied: 388, Reasons: []recording.StackReason{
			{Reason: "no unwind information in python3.12", Count: 900}, {Reason: "accept() was not seen", Count: 31},
			{Reason: "the process was gone before its code was read", Count: 6}}}}
	for i := range m.Openers {
		o := &m.Openers[i]
		for _, s := range o.States {
			g := recording.Group{Netns: netnsHost, Owner: recording.OwnerProcess, Comm: o.Comm, PID: o.PID, Container: o.Container, Role: o.Role,
				State: s.State, Opener: i + 1, Count: s.Count, Idle: o.Idle}
			if o.Comm == "" {
				g.Comm, g.PID = "sshd", 612
			}
			if s == o.States[0] {
				g.RxBytes, g.TxBytes, g.BufferBytes = o.LiveRxBytes, o.LiveTxBytes, o.LiveRxBytes+o.LiveTxBytes
			}
			addGroup(m, g)
			g = m.Groups[len(m.Groups)-1]
			o.LiveObjectBytes, o.LivePageBytes, o.LiveBufferBytes = o.LiveObjectBytes+g.ObjectBytes, o.LivePageBytes+g.PageBytes, o.LiveBufferBytes+g.BufferBytes
			row := recording.EndpointRow{Objects: o.Objects}
			for _, part := range liveObjects(&g) {
				addObject(&row, recording.ObjectRow{Type: part.name, Cache: part.cache, Count: g.Count, ObjectBytes: uint64(g.Count) * part.objectBytes,
					PageBytes: uint64(g.Count) * part.pageTenths / 10})
			}
			o.Objects = row.Objects
		}
		if o.Kind != recording.OpenerBefore && o.Kind != recording.OpenerUnseen {
			rec.Opened, rec.Closed, rec.Failed, rec.Live = rec.Opened+o.Opened, rec.Closed+o.Closed, rec.Failed+o.Failed, rec.Live+o.Live
		}
	}
	m.Record = rec
	addRecordTimeline(rec)
	addChurn(rec)
}

// addRecordTimeline has a point a second.
func addRecordTimeline(rec *recording.Record) {
	for second := range 61 {
		share := func(n int) int { return n * second / 60 }
		p := recording.RecordPoint{Seconds: float64(second), Opened: share(rec.Opened), Closed: share(rec.Closed), Failed: share(rec.Failed)}
		if second%60 != 0 {
			p.Opened += 30 * (second % 7) // it goes up and down
			p.Closed += 25 * (second % 5)
		}
		rec.Timeline = append(rec.Timeline, p)
	}
}

func addChurn(rec *recording.Record) {
	rec.Churn = []recording.Churn{
		{Netns: netnsHost, Role: kernel.RoleServer, Address: "*:443", Opened: 6_004, Closed: 5_714, Live: 290},
		{Netns: netnsHost, Role: kernel.RoleClient, Address: "10.0.5.2:8080", Opened: 4_801, Closed: 4_773, Failed: 3, Live: 28},
		{Netns: netnsHost, Role: kernel.RoleClient, Address: "10.0.3.7:5432", Opened: 1_236, Closed: 912, Failed: 12, Live: 324},
		{Netns: netnsHost, Role: kernel.RoleClient, Address: "10.0.7.1:9200", Opened: 900, Closed: 900, Failed: 840},
		{Netns: netnsHost, Role: kernel.RoleServer, Address: "0.0.0.0:8443", Opened: 31, Closed: 3, Live: 28},
		{Netns: netnsHost, Role: kernel.RoleClient, Address: recording.Other, Opened: 59, Closed: 32, Live: 27},
	}
}

// RecordedLater is the same host after a deployment: the leak is closed, another one is there, and the processes have other numbers.
func RecordedLater() *recording.Recording {
	r := Recorded()
	r.Created = r.Created.Add(time.Hour)
	m := r.Machines[0]
	m.Groups, m.Endpoints, m.Books = nil, nil, nil
	for i := range m.Openers {
		o := &m.Openers[i]
		o.LiveObjectBytes, o.LivePageBytes, o.LiveBufferBytes, o.Objects = 0, 0, 0, nil
		if o.PID > 0 {
			o.PID += 1000
		}
		switch o.Comm {
		case "api":
			o.Opened, o.Closed, o.Live, o.Tenths = 1_300, 1_280, 20, nil
			o.States, o.Peers = o.States[1:], []recording.PeerCount{{Peer: "10.0.3.7:5432", Count: 20}}
		case "legacyd":
			o.Comm = "moderned"
		}
	}
	b := &recordBuilder{m: m, at: map[recording.Location]int{}}
	b.sum()
	addLiveBooks(m)
	return r
}
