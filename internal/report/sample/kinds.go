package sample

import (
	"slices"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// TwoMachines is the sample with its ends on two machines that differ in kernel, hooks, losses and notes.
func TwoMachines() *recording.Recording {
	client, server := Ends()
	client.Add(server)
	return client
}

// OneKernel is the sample with its ends in two network namespaces of one host.
func OneKernel() *recording.Recording {
	client, server := Ends()
	near, far := client.Machines[0], server.Machines[0]
	far.Name, far.Host, far.Hooks, far.Losses = near.Name, near.Host, near.Hooks, recording.Losses{}
	// Each has seen slab memory grow by both ends.
	grown := New().Machines[0].Reconcile
	for _, m := range []*recording.Machine{near, far} {
		m.Reconcile.SlabDeltaBytes = grown.SlabDeltaBytes
		for i := range m.Reconcile.Caches {
			c := &m.Reconcile.Caches[i]
			of := grown.Caches[slices.IndexFunc(grown.Caches, func(g recording.CacheRow) bool { return g.Cache == c.Cache })]
			c.SlabinfoDeltaObjects, c.SlabinfoDeltaBytes = of.SlabinfoDeltaObjects, of.SlabinfoDeltaBytes
		}
	}
	client.Add(server)
	return client
}

// Ends are what the two machines of a run have recorded, each alone.
func Ends() (client, server *recording.Recording) {
	near, far := endOf(kernel.RoleClient, kernel.RoleClient), endOf(kernel.RoleServer, kernel.RoleServer, kernel.RoleListener)
	near.Name, near.Host.Boot = "web-1", "boot 1"
	near.Notes = append(near.Notes, "the client's own note")
	near.Trace.ServerOpens = 0
	far.Name = "db-7"
	far.Host = recording.Host{Boot: "boot 2", Kernel: "6.12.117", CPUs: 64, MemoryBytes: 512 << 30, Machine: "aarch64"}
	far.Hooks[1] = recording.Hook{Name: kernel.HookAccept, Function: "inet_csk_accept", Kind: kernel.KindKprobe, Attached: true, Hits: 20_000}
	far.Losses.RingFull = 7
	far.Load.ProcessRSSBytes, far.Cost.ProfilerRSSBytes = 13<<20, 41<<20
	far.Load.ConnectSeconds, far.ClientPorts = 0, nil
	far.Trace.ClientOpens = 0
	far.Reconcile.SlabDeltaBytes = far.Reconcile.AccountedPageBytes - far.Reconcile.AccountedPageBytes/50
	near.Plan = []recording.PlanRow{{Limit: "open files (all)", Where: "fs.file-max", Need: 30_000, Have: 60_000, Verdict: "ok"}}
	far.Plan = []recording.PlanRow{{Limit: "open files (all)", Where: "fs.file-max", Need: 30_000, Have: 60_000, Verdict: "warns"}}
	client, server = recordingOf(near), recordingOf(far)
	client.Command = []string{"connprof", "run", "--target", "db-7:8090", "--token", "TOKEN", "--ips", "20", "--conns", "20k"}
	server.Command = []string{"connprof", "serve", "--token", "TOKEN"}
	return client, server
}

// endOf is the sample as one end has it that is alone on its machine.
func endOf(end kernel.Role, roles ...kernel.Role) *recording.Machine {
	m := New().Machines[0]
	m.Load.End = end
	other := func(role kernel.Role) bool { return !slices.Contains(roles, role) }
	m.Endpoints = slices.DeleteFunc(m.Endpoints, func(e recording.EndpointRow) bool { return other(e.Role) })
	m.Addresses = slices.DeleteFunc(m.Addresses, func(a recording.AddressRow) bool { return other(a.Role) })
	m.Stacks = slices.DeleteFunc(m.Stacks, func(s recording.Stack) bool { return other(s.Role) })
	m.Top = slices.DeleteFunc(m.Top, func(e recording.TopEndpoint) bool { return other(e.Role) })
	m.Trace.Types = slices.DeleteFunc(m.Trace.Types, func(t recording.TypeRow) bool { return other(t.Role) })
	m.Reconcile = &recording.Reconcile{}
	addReconcile(m)
	return m
}

// Snapshot is a look at endpoints that connprof did not open: no load, no trace, no growth of slab memory. Some have no role.
func Snapshot() *recording.Recording {
	m := New().Machines[0]
	m.Load, m.Trace, m.Reconcile, m.Sampling, m.ClientPorts, m.Addresses = nil, nil, nil, nil, nil, nil
	m.Hooks, m.Stacks, m.Notes = m.Hooks[6:], nil, nil
	m.Endpoints[1].BufferBytes = 81_920_000
	m.Endpoints = append(m.Endpoints, recording.EndpointRow{Role: kernel.RoleUnknown, State: "CLOSE", Count: 3, ObjectBytes: 7_104,
		PageBytes: 7_563, Objects: []recording.ObjectRow{{Type: "tcp_sock", Cache: "TCP", Count: 3, ObjectBytes: 7_104, PageBytes: 7_563}}})
	r := recordingOf(m)
	r.Kind, r.Command = recording.KindSnapshot, []string{"connprof", "snapshot"}
	return r
}

// Record is the snapshot at the end of a record, which has call paths and hooks.
func Record() *recording.Recording {
	r, full := Snapshot(), New().Machines[0]
	r.Kind, r.Command = recording.KindRecord, []string{"connprof", "record"}
	r.Machines[0].Hooks, r.Machines[0].Stacks, r.Machines[0].Reconcile = full.Hooks, full.Stacks, full.Reconcile
	return r
}

// NoProfile is a run that was not profiled.
func NoProfile() *recording.Recording {
	m := New().Machines[0]
	return recordingOf(&recording.Machine{Host: m.Host, Load: m.Load})
}

// Troubled is the sample after a bad day: failures, losses, disagreements, another kernel, other sizes.
func Troubled() *recording.Recording {
	r := New()
	m := r.Machines[0]
	m.Host.Kernel = "6.12.117"
	r.Interrupted = "SIGINT after 11,200 of 20,000 connections"
	m.Hooks[0] = recording.Hook{Name: kernel.HookConnect, Function: "tcp_v4_connect", Kind: kernel.KindKprobe, Note: "fentry: permission denied " +
		"(load of program connect_entry: BPF_PROG_LOAD needs CAP_PERFMON and CAP_BPF; run as root)"}
	m.Load.Established, m.Load.Failed = 11_200, 40
	m.Load.Failures = []recording.Failure{{Step: "connect", Error: "cannot assign requested address", Count: 40}}
	m.Losses = recording.Losses{RingFull: 12, WalkSkipped: 3}
	m.Trace.Types[4].Trace += 412
	m.Trace.ClientOpens -= 12
	m.Reconcile.SlabDeltaBytes += 14 << 20
	server := &m.Endpoints[1]
	server.Objects[0].PageBytes += 3_200_000
	server.PageBytes += 3_200_000
	server.BufferBytes = 81_920_000
	for i := range m.Stacks {
		s := &m.Stacks[i]
		if s.Role == kernel.RoleServer && s.Type == "tcp_sock" && s.Frames[0] != "ret_from_fork_asm" {
			s.Bytes += 1_600_000
		}
	}
	client := &m.Endpoints[0]
	client.Objects = client.Objects[:len(client.Objects)-1]
	client.PageBytes -= 128_000
	m.Stacks = slices.DeleteFunc(m.Stacks, func(s recording.Stack) bool { return s.Type == "inet_bind_bucket" })
	return r
}

// Threaded is the sample as a run with a thread for each connection would leave it.
func Threaded() *recording.Recording {
	r := New()
	m := r.Machines[0]
	n := int64(m.Load.Established)
	m.Load.ServerCost = recording.ServerCost{ServerModel: recording.ModelThread, Threads: 20_040, ServerRSSBytes: 92 << 20,
		ContextSwitches: &recording.ContextSwitches{Client: recording.Switches{Voluntary: n / 10, Involuntary: n / 20},
			Server: recording.Switches{Voluntary: n * 5 / 4, Involuntary: n / 5}},
		Growth: &recording.MemoryGrowth{ServerUserBytes: 4100 * n, SlabBytes: 15_000 * n, KernelStackBytes: 16_384 * n, PageTableBytes: 50 * n}}
	m.Load.ComparedWith = &recording.Comparison{Established: int(n), ConnectsPerSecond: 2 * m.Load.ConnectsPerSecond,
		ServerCost: recording.ServerCost{ServerModel: recording.ModelEpoll, Threads: 8, ServerRSSBytes: 10 << 20,
			ContextSwitches: &recording.ContextSwitches{Client: recording.Switches{Voluntary: n / 5}, Server: recording.Switches{Voluntary: n / 10}},
			Growth:          &recording.MemoryGrowth{ServerUserBytes: 4 * n, SlabBytes: 7_500 * n, KernelStackBytes: -4 * n, PageTableBytes: 100 * n}}}
	threads := 7_300 * n
	m.Reconcile.SlabDeltaBytes += threads
	m.Reconcile.Threads = &recording.ThreadSlab{Bytes: threads, Caches: []recording.ThreadCacheGrown{
		{Cache: "pid", Objects: n, Bytes: 200 * n}, {Cache: "task_struct", Objects: n, Bytes: 7_100 * n}}}
	return r
}
