package live

import (
	"slices"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/owner"
	"github.com/connprof/connprof/loader"
)

// place is a port of a network namespace.
type place struct {
	netns uint32
	port  uint16
}

// listener is who listens at a place.
type listener struct {
	file uint64
	pid  uint32
	comm string
}

// listening is who listens where, or has since the record began.
type listening map[place]listener

// find finds the listeners that are there.
func (l listening) find(probes *loader.Probes) error {
	_, err := probes.WalkAll(func(e *kernel.Endpoint) error {
		if e.State == kernel.StateListen {
			l[place{e.Netns, e.Local.Port()}] = listener{file: e.File}
		}
		return nil
	})
	return err
}

// name finds out whose they are. Where only some processes count, what comes in at theirs does.
func (l listening) name(owners *owner.Owners, pids []int, probes *loader.Probes) error {
	for at, who := range l {
		has := owners.Owner(who.file)
		if has == nil || len(has.PIDs) == 0 {
			continue
		}
		who.pid, who.comm = uint32(has.PIDs[0]), has.Comm
		if slices.ContainsFunc(has.PIDs, func(pid int) bool { return slices.Contains(pids, pid) }) {
			if err := probes.CountListener(at.netns, at.port); err != nil {
				return err
			}
			who.pid = uint32(pids[0])
		}
		l[at] = who
	}
	return nil
}

// learn adds those that were made since the record began.
func (l listening) learn(probes *loader.Probes) error {
	made, err := probes.ListenersMade()
	for _, m := range made {
		if m.PID != 0 { // else it was there before
			l[place{m.Netns, m.Port}] = listener{pid: m.PID, comm: m.Comm}
		}
	}
	return err
}
