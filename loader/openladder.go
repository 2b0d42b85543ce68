package loader

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

// Opens asks for who opens connections, from where in the code.
type Opens struct {
	// Stacks has the code paths told apart, and not only the processes.
	Stacks bool
	// AcceptStacks has accept() watched at the end of every system call where nothing better can be hooked.
	AcceptStacks bool
	// CopyAlways has stacks copied that were recognised as well, so that one can be held against the other.
	CopyAlways bool
	// Followed is a process whose descendants alone count, in connprof's PID namespace; 0: all count.
	Followed int
	// PIDs are processes of which alone something counts; empty: of all. They are up to MostAsked.
	PIDs []int
	// Sockets is how many connections can be open at a time that were opened meanwhile; 0: as many as fit this host.
	Sockets int
}

// openSockets is how many connections this host can have open, near enough: they take 4 KiB each in the kernel, and at most a quarter
// of memory is expected to. A place takes 16 bytes, and a connection 100 more; where these have to be there from the start there are fewer.
func openSockets(memory uint64, onDemand bool) uint32 {
	const fewest, most = 1 << 16, 1 << 22
	each := uint64(16 << 10)
	if !onDemand {
		each *= 4
	}
	n := uint64(fewest)
	for n < memory/each && n < most {
		n *= 2
	}
	return uint32(n)
}

// Before it, a hash map that programs add to takes all its memory at once.
const (
	fewOpeners = 4096
	fewStacks  = 2048
)

// openLadder is what tells who opens. What ends is hooked before what begins.
func openLadder(o *Opens) []hookPoint {
	accept := []rung{
		// Exists with CONFIG_SECURITY_NETWORK. A probe on an entry costs less than a return probe, and misses nothing when many
		// threads wait in accept().
		{kind: kernel.KindKprobe, function: "security_sock_graft", programs: []attachment{
			{program: bpf.OpensProgOpensGraft, symbol: "security_sock_graft", attach: attachKprobe}}},
		{kind: kernel.KindKprobe, function: "inet_csk_accept", programs: []attachment{
			{program: bpf.OpensProgOpensAcceptReturn, symbol: "inet_csk_accept", attach: attachKretprobe}}},
		{kind: kernel.KindFentry, function: "inet_csk_accept", suits: functionHasArgs("inet_csk_accept", 2), programs: []attachment{
			{program: bpf.OpensProgOpensAccept2Args, attach: attachTracing}}},
		{kind: kernel.KindFentry, function: "inet_csk_accept", suits: functionHasArgs("inet_csk_accept", 4), programs: []attachment{
			{program: bpf.OpensProgOpensAccept4Args, attach: attachTracing}}},
	}
	if o.AcceptStacks {
		accept = append(accept, rung{kind: kernel.KindTracepoint, function: "sys_exit", programs: []attachment{
			{program: bpf.OpensProgOpensSysExit, attach: attachTracing}}})
	}
	accept = append(accept, rung{kind: kernel.KindTracepoint, function: "inet_sock_set_state", standIn: true})
	return []hookPoint{
		{name: kernel.HookDestroy, spec: bpf.LoadOpens, rungs: []rung{{kind: kernel.KindTracepoint, function: "tcp_destroy_sock",
			programs: []attachment{{program: bpf.OpensProgOpensDestroy, attach: attachTracing}}}}},
		{name: kernel.HookAccept, spec: bpf.LoadOpens, forced: true, rungs: accept},
		{name: kernel.HookState, spec: bpf.LoadOpens, rungs: []rung{{kind: kernel.KindTracepoint, function: "inet_sock_set_state",
			programs: []attachment{{program: bpf.OpensProgOpensStateChange, attach: attachTracing}}}}},
	}
}

// openMaps are made once for the programs above.
var openMaps = []string{bpf.OpensMapOpenSockets, bpf.OpensMapOpeners, bpf.OpensMapServices, bpf.OpensMapListeners, bpf.OpensMapBlank,
	bpf.OpensMapStackCopies, bpf.OpensMapLearnedStacks, bpf.OpensMapCopyBudget, bpf.OpensMapOpenCounts}

// variables are set before the programs are loaded.
func (o *Opens) variables() map[string]any {
	if o == nil {
		return nil
	}
	var pids [MostAsked]uint32
	for i, pid := range o.PIDs[:min(len(o.PIDs), MostAsked)] {
		pids[i] = uint32(pid)
	}
	return map[string]any{bpf.OpensVarTakeStacks: o.Stacks, bpf.OpensVarCopyAlways: o.CopyAlways, bpf.OpensVarFollowed: uint32(o.Followed),
		bpf.OpensVarAskedPids: pids, bpf.OpensVarAskedPidsLen: uint32(min(len(o.PIDs), MostAsked))}
}

// fit sizes a map. Since 7c8199e24fa0 (6.1) a program may take memory for an element when it needs it; before that it has to be
// there already.
func (o *Opens) fit(m *ebpf.MapSpec, onDemand bool) {
	const noPrealloc = 1 // BPF_F_NO_PREALLOC
	switch m.Name {
	case bpf.OpensMapOpenSockets:
		if m.MaxEntries = uint32(o.Sockets); o.Sockets == 0 {
			info, _ := kernel.ReadMeminfo() // of a host that does not say it is the fewest
			m.MaxEntries = openSockets(info["MemTotal"], onDemand)
		}
	case bpf.OpensMapOpeners:
		if !onDemand {
			m.MaxEntries = fewOpeners
		}
	case bpf.OpensMapLearnedStacks:
		if !onDemand {
			m.MaxEntries = fewStacks
		}
	case bpf.OpensMapStackCopies:
		if !o.Stacks {
			m.MaxEntries = 64 << 10 // a ring of the largest page
		}
		return
	default:
		return
	}
	if onDemand {
		m.Flags |= noPrealloc
	}
}

// takesOnDemand tells whether the kernel has the allocator that programs can use anywhere.
func takesOnDemand(types *btf.Spec) bool {
	var s *btf.Struct
	return types.TypeByName("bpf_mem_alloc", &s) == nil
}
