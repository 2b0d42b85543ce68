package live

import (
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/filter"
)

// asked is whose connections a record is of.
type asked struct {
	plain   filter.Plain
	command bool // a command's alone: the programs choose
	inBPF   int  // how many of the plain PIDs the programs know
	known   processes
}

// chooses tells whether processes are chosen in a way that the programs do not know.
func (a *asked) chooses() bool {
	p := &a.plain
	return !a.command && (len(p.Comms)+len(p.Containers)+len(p.Cgroups) > 0 || len(p.PIDs) > a.inBPF)
}

// processes holds an opener's processes against the flags that choose: any of one, and all of different ones.
func (a *asked) processes(comm, container string, pids map[uint32]struct{}) bool {
	p := &a.plain
	switch {
	case a.command:
		return true
	case len(p.Comms) > 0 && !slices.Contains(p.Comms, comm):
		return false
	case len(p.Containers) > 0 && !slices.ContainsFunc(p.Containers, func(id string) bool { return strings.HasPrefix(container, id) }):
		return false
	case len(p.PIDs) > 0 && !slices.ContainsFunc(p.PIDs, func(pid int) bool { _, has := pids[uint32(pid)]; return has }):
		return false
	}
	return len(p.Cgroups) == 0 || a.known.inCgroup(pids, p.Cgroups)
}
