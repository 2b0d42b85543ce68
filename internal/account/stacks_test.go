package account

import (
	"slices"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Stacks as the kernel reports them, leaf first; the probe's own frames come before the allocation.
var (
	probeFrames = []string{"bpf_prog_0123456789abcdef_on_alloc", "bpf_trace_run6", "__traceiter_kmem_cache_alloc",
		"kmem_cache_alloc_noprof"}
	connectFrames = []string{"tcp_v4_connect", "__inet_stream_connect", "__sys_connect", "__x64_sys_connect",
		"do_syscall_64", "entry_SYSCALL_64_after_hwframe"}
	socketFrames = []string{"sk_prot_alloc", "sk_alloc", "inet_create", "__sock_create", "__sys_socket", "__x64_sys_socket",
		"do_syscall_64", "entry_SYSCALL_64_after_hwframe"}
	// The server's sock is made while the client's own connect() receives the handshake's last packet.
	handshakeFrames = []string{"sk_prot_alloc", "sk_clone", "inet_csk_clone_lock", "tcp_create_openreq_child",
		"tcp_v4_syn_recv_sock", "tcp_check_req", "tcp_v4_rcv", "ip_protocol_deliver_rcu", "process_backlog",
		"net_rx_action", "handle_softirqs"}
	sendFrames = []string{"do_softirq", "__local_bh_enable_ip", "__dev_queue_xmit", "ip_finish_output2", "__ip_queue_xmit",
		"__tcp_transmit_skb", "tcp_connect"}
	acceptFrames = []string{"sock_alloc_inode", "alloc_inode", "sock_alloc", "do_accept", "__sys_accept4",
		"__x64_sys_accept4", "do_syscall_64", "entry_SYSCALL_64_after_hwframe"}
)

func sample(function string, cache uint64, role kernel.Role, atomic bool, stack ...[]string) kernel.StackSample {
	return kernel.StackSample{CallSite: site(function), Cache: cache, Weight: 256, Role: role, Atomic: atomic,
		Frames: frames(slices.Concat(append([][]string{probeFrames}, stack...)...)...)}
}

// socketSamples is one sample of a connecting sock, and one of an accepted one.
func socketSamples() []kernel.StackSample {
	return []kernel.StackSample{
		sample("sk_prot_alloc", cacheTCP, kernel.RoleClient, false, socketFrames),
		sample("sk_prot_alloc", cacheTCP, kernel.RoleClient, true, handshakeFrames, sendFrames, connectFrames)}
}

// sampled is the account of the endpoints with the samples taken.
func sampled(samples []kernel.StackSample, endpoints ...*kernel.Endpoint) *recording.Machine {
	c := testCaches()
	l := visited(c, endpoints...)
	for _, s := range samples {
		l.Sampled(s)
	}
	r := &recording.Machine{}
	l.Fill(r, evidence(c))
	return r
}

func stacksOf(r *recording.Machine, role kernel.Role, kind kernel.ObjectType) []recording.Stack {
	return slices.DeleteFunc(slices.Clone(r.Stacks), func(s recording.Stack) bool {
		return s.Role != role || s.Type != kind.String()
	})
}

func rootFirst(leafFirst ...[]string) []string {
	all := slices.Concat(leafFirst...)
	slices.Reverse(all)
	return all
}

func TestAnEndpointsPathIsItsOwn(t *testing.T) {
	r := sampled(socketSamples(), listener(), client(1), server(1))
	want := map[kernel.Role][]string{
		kernel.RoleClient: rootFirst(probeFrames[3:], socketFrames),
		kernel.RoleServer: rootFirst(probeFrames[3:], handshakeFrames), // without the client's connect() below the softirq
	}
	for role, path := range want {
		stacks := stacksOf(r, role, kernel.TCPSock)
		if len(stacks) != 1 || !slices.Equal(stacks[0].Frames, path) {
			t.Errorf("%s: %+v, want one stack %v", role, stacks, path)
		}
	}
	if r.Sampling.Samples != 2 {
		t.Errorf("%d samples, want 2", r.Sampling.Samples)
	}
}

func TestStacksAddUpToTheRowsExactly(t *testing.T) {
	samples := socketSamples()
	for i := range 7 { // unequal weights, whose shares do not come out even
		s := sample("sk_prot_alloc", cacheTCP, kernel.RoleClient, false, socketFrames[:i+1], socketFrames[6:])
		s.Weight = uint32(100 + 37*i)
		samples = append(samples, s)
	}
	endpoints := []*kernel.Endpoint{listener()}
	for i := range 1001 {
		e := client(i)
		e.State = kernel.State(1 + i%3) // the stacks of a type sum all states
		endpoints = append(endpoints, e, server(i))
	}
	r := sampled(samples, endpoints...)
	if n := len(stacksOf(r, kernel.RoleClient, kernel.TCPSock)); n != 7 {
		t.Errorf("%d client paths, want 7", n) // one of the seven is the first again
	}
	type group struct {
		role kernel.Role
		kind string
	}
	counts, bytes := map[group]int{}, map[group]uint64{}
	for _, s := range r.Stacks {
		counts[group{s.Role, s.Type}] += s.Count
		bytes[group{s.Role, s.Type}] += s.Bytes
	}
	for _, row := range r.Endpoints {
		for _, o := range row.Objects {
			g := group{row.Role, o.Type}
			count, pages := groupTotals(r.Endpoints, g.role, g.kind)
			if counts[g] != count || bytes[g] != pages {
				t.Errorf("stacks of %v hold %d objects and %d bytes, the rows %d and %d", g, counts[g], bytes[g], count, pages)
			}
		}
	}
}

func TestStacksShareInProportionToTheirWeights(t *testing.T) {
	rare, often := socketSamples()[0], socketSamples()[0]
	often.Frames, often.Weight = frames(slices.Concat(socketFrames[:2], socketFrames[5:])...), 3*rare.Weight
	var endpoints []*kernel.Endpoint
	for i := range 400 {
		endpoints = append(endpoints, client(i))
	}
	stacks := stacksOf(sampled([]kernel.StackSample{rare, often, rare}, endpoints...), kernel.RoleClient, kernel.TCPSock)
	if len(stacks) != 2 || stacks[0].Count != 240 || stacks[1].Count != 160 || stacks[1].Samples != 2 ||
		stacks[1].Bytes != 160*page/2 {
		t.Errorf("%+v, want 240 and 160 objects", stacks)
	}
}

func TestTypesWithoutASampleSaySo(t *testing.T) {
	r := sampled(socketSamples(), client(1))
	stacks := stacksOf(r, kernel.RoleClient, kernel.Dentry)
	if len(stacks) != 1 || !slices.Equal(stacks[0].Frames, []string{"(no stack sampled)"}) || stacks[0].Samples != 0 ||
		stacks[0].Count != 1 || stacks[0].Bytes != page/16 || stacks[0].Cache != "dentry" {
		t.Errorf("dentry: %+v", stacks)
	}
}

func TestSamplesOfOtherThingsAreCountedAndLeftOut(t *testing.T) {
	other := sample("vfs_read", cacheFilp, kernel.RoleClient, false, []string{"vfs_read"})
	otherCache := sample("sk_prot_alloc", cacheFilp, kernel.RoleClient, false, socketFrames) // a UDP sock
	r := sampled([]kernel.StackSample{other, otherCache}, client(1))
	if r.Sampling.Samples != 2 {
		t.Errorf("%d samples, want 2", r.Sampling.Samples)
	}
	for _, s := range r.Stacks {
		if s.Samples != 0 {
			t.Errorf("%+v came from a sample of something else", s)
		}
	}
}

// A function whose last instruction is a call returns to what comes behind it.
func TestAReturnAddressBelongsToItsCaller(t *testing.T) {
	got := names([]uint64{site("sk_alloc"), addressOf("inet_create")}, testSymbols())
	if !slices.Equal(got, []string{"sk_alloc", "sk_alloc"}) {
		t.Errorf("%v, want sk_alloc for its last byte as well", got)
	}
}

func TestASamplesMemoryMayBeReused(t *testing.T) {
	m := samples{}
	s := socketSamples()[0]
	m.add(s, false)
	copy(s.Frames, frames(acceptFrames...))
	m.add(s, false)
	if len(m) != 2 {
		t.Errorf("%d different stacks, want 2", len(m))
	}
	m.add(socketSamples()[0], false)
	if len(m) != 2 {
		t.Errorf("the first stack was not found again: %d stacks", len(m))
	}
}

func TestTheProbesFramesAreTrimmed(t *testing.T) {
	deep := append(slices.Repeat([]string{"vfs_read"}, 10), "bpf_prog_0123456789abcdef_on_alloc", "vfs_read")
	tests := []struct {
		name      string
		in, after []string
	}{
		{"tp_btf", slices.Concat(probeFrames, socketFrames), slices.Concat(probeFrames[3:], socketFrames)},
		{"perf-style", append([]string{"bpf_trace_run6", "trace_kmem_cache_alloc"}, socketFrames...), socketFrames},
		{"a helper of BPF's", append([]string{"__bpf_get_stack", "bpf_get_stack_raw_tp"}, socketFrames...), socketFrames},
		{"none", socketFrames, socketFrames},
		{"far from the leaf it is the program's business", deep, deep},
		{"nothing else", probeFrames[:3], nil},
		{"empty", nil, nil},
	}
	for _, test := range tests {
		if got := trimTracing(test.in); !slices.Equal(got, test.after) {
			t.Errorf("%s: left %v, want %v", test.name, got, test.after)
		}
	}
}

func TestWhatLiesBelowASoftirqIsCut(t *testing.T) {
	for _, name := range []string{"handle_softirqs", "__do_softirq"} { // since 6.10, and before
		stack := append(append(slices.Clone(handshakeFrames[:10]), name), slices.Concat(sendFrames, connectFrames)...)
		received, left := cutAtSoftirq(stack)
		if !received || len(left) != 11 || left[10] != name || strings.Contains(strings.Join(left, " "), "connect") {
			t.Errorf("%s: received %v, left %v", name, received, left)
		}
	}
	if received, left := cutAtSoftirq(socketFrames); received || !slices.Equal(left, socketFrames) {
		t.Errorf("a system call's own stack: received %v, left %v", received, left)
	}
}

func TestRoleOfASample(t *testing.T) {
	tests := []struct {
		name     string
		kind     kernel.ObjectType
		task     kernel.Role
		received bool
		frames   []string // root first
		want     kernel.Role
	}{
		{"a sock made on reception is the server's", kernel.TCPSock, kernel.RoleClient, true, nil, kernel.RoleServer},
		{"so is a request sock", kernel.RequestSock, kernel.RoleUnknown, true, nil, kernel.RoleServer},
		{"a dentry is its task's, received or not", kernel.Dentry, kernel.RoleClient, true, nil, kernel.RoleClient},
		{"a sock of a system call is its task's", kernel.TCPSock, kernel.RoleClient, false, nil, kernel.RoleClient},
		{"the task beats the system call", kernel.File, kernel.RoleServer, false, rootFirst(socketFrames), kernel.RoleServer},
		{"an unknown task accepts", kernel.SocketAlloc, kernel.RoleUnknown, false, rootFirst(acceptFrames), kernel.RoleServer},
		{"an unknown task connects", kernel.BindBucket, kernel.RoleUnknown, false, rootFirst(connectFrames), kernel.RoleClient},
		{"an unknown task makes a socket", kernel.TCPSock, kernel.RoleUnknown, false, rootFirst(socketFrames), kernel.RoleClient},
		{"an unknown task binds", kernel.BindBucket, kernel.RoleUnknown, false, []string{"do_syscall_64", "__x64_sys_bind"},
			kernel.RoleClient},
		{"an unknown task does something else", kernel.Epitem, kernel.RoleUnknown, false, []string{"do_epoll_ctl"},
			kernel.RoleUnknown},
	}
	for _, test := range tests {
		s := kernel.Site{Role: test.task}
		if got := roleOf(test.kind, s, test.received, test.frames); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// Data that one end has sent is queued at the other: its path is the sender's, and not that of a handshake's packets.
func TestQueuedBuffersHaveThePathsOfTheirSender(t *testing.T) {
	paths := map[path]pathSum{
		{kernel.RoleUnknown, kernel.SKBHead, "do_syscall_64\nwrite"}: {weight: 30, count: 3},
		{kernel.RoleClient, kernel.File, "do_syscall_64\nsocket"}:    {weight: 10, count: 1},
	}
	rows := []recording.EndpointRow{{Role: kernel.RoleServer, Objects: []recording.ObjectRow{
		{Type: "skb_head", Cache: "kmalloc-1k", Count: 3, PageBytes: 3072},
		{Type: "file", Cache: "filp", Count: 3, PageBytes: 600}}}}
	stacks := scaledStacks(rows, paths)
	if len(stacks) != 2 || stacks[0].Role != kernel.RoleServer || stacks[0].Frames[1] != "write" || stacks[0].Bytes != 3072 ||
		stacks[1].Frames[0] != notSampled {
		t.Errorf("%+v, want the client's write under the server's buffers, and no path for its files", stacks)
	}
}
