package loader

import (
	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

// Asked chooses endpoints in the kernel: any of one kind, and all of different kinds. A kind without values chooses everything, and
// so does one with more than MostAsked. What is not chosen is met by walks all the same, as a kernel.Endpoint that is Passed. Listeners
// never are, nor are request socks and those in TIME_WAIT, on which nothing hangs.
type Asked struct {
	Netns  []uint32 // inode numbers
	Ports  []uint16 // local or remote
	States []kernel.State
}

// MostAsked is how many namespaces or ports can be asked for in the kernel.
const MostAsked = 8

// variables are the constants of the walk's objects that say so.
func (a Asked) variables() map[string]any {
	var netns [MostAsked]uint32
	var ports [MostAsked]uint16
	states := uint32(0)
	for _, s := range a.States {
		states |= 1 << (s & 31)
	}
	return map[string]any{
		bpf.WalkVarAskedNetnsLen: fitted(netns[:], a.Netns), bpf.WalkVarAskedNetns: netns,
		bpf.WalkVarAskedPortsLen: fitted(ports[:], a.Ports), bpf.WalkVarAskedPorts: ports,
		bpf.WalkVarAskedStates: states,
	}
}

// fitted puts the values into the places there are and gives their number; 0 if they do not fit.
func fitted[T any](places, values []T) uint32 {
	if len(values) > len(places) {
		return 0
	}
	return uint32(copy(places, values))
}
