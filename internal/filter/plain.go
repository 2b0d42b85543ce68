package filter

import (
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
)

// Plain chooses by values: any of one kind, and all of different kinds. A kind without values chooses everything.
type Plain struct {
	PIDs       []int // of any process that has the endpoint open
	Comms      []string
	Cgroups    []string // paths; what is below them is chosen too
	Containers []string // IDs, or what they begin with
	Netns      []uint32 // inode numbers
	Ports      []uint16 // local or remote
	States     []kernel.State
}

// Match tells whether an endpoint is chosen.
func (p *Plain) Match(f *Fields) bool {
	return anyOf(p.PIDs, func(pid int) bool { return pid == f.PID || slices.Contains(f.PIDs, pid) }) &&
		anyOf(p.Comms, func(comm string) bool { return comm == f.Comm }) &&
		anyOf(p.Cgroups, func(cgroup string) bool { return isBelow(f.Cgroup, cgroup) }) &&
		anyOf(p.Containers, func(id string) bool { return id != "" && strings.HasPrefix(f.Container, id) }) &&
		anyOf(p.Netns, func(netns uint32) bool { return int(netns) == f.Netns }) &&
		anyOf(p.Ports, func(port uint16) bool { return int(port) == f.LPort || int(port) == f.RPort }) &&
		anyOf(p.States, func(state kernel.State) bool { return state.String() == f.State })
}

func anyOf[T comparable](values []T, is func(T) bool) bool {
	return len(values) == 0 || slices.ContainsFunc(values, is)
}
