package live

import (
	"cmp"
	"slices"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// mostListeners bounds how many listeners a recording names.
const mostListeners = 1000

// listeners gathers listening sockets with their accept queues.
type listeners struct {
	all    []recording.Listener
	places map[place]int // of all of them, with a process that has it; 0: none is known
}

// add enters a listener. Beyond twice the bound those with the emptiest queues go.
func (l *listeners) add(owners account.Owners, places account.Places, e *kernel.Endpoint) {
	if l.places == nil {
		l.places = map[place]int{}
	}
	row := recording.Listener{Netns: e.Netns, Address: e.Local.String(), Queue: int(e.Live.AcceptQueue), Backlog: int(e.Live.AcceptMax)}
	who := owners.Owner(e.File)
	if who == nil && places != nil {
		who = places.Place(e.Live.Cgroup)
	}
	if who != nil {
		row.Comm, row.Cgroup, row.Container = who.Comm, who.Cgroup, who.Container
		if len(who.PIDs) > 0 {
			row.PID = who.PIDs[0]
		}
	}
	at := place{e.Netns, e.Local.Port()}
	l.places[at] = max(l.places[at], row.PID) // of several that share the port, always the same one
	l.all = append(l.all, row)
	if len(l.all) > 2*mostListeners {
		l.all = l.list()
	}
}

// list is the listeners whose queues are fullest, by what they keep.
func (l *listeners) list() []recording.Listener {
	slices.SortFunc(l.all, func(a, b recording.Listener) int {
		return cmp.Or(cmp.Compare(fill(b), fill(a)), cmp.Compare(b.Queue, a.Queue), cmp.Compare(a.Address, b.Address),
			cmp.Compare(a.Netns, b.Netns))
	})
	return l.all[:min(len(l.all), mostListeners)]
}

// fill is what part of its accept queue is in use. The kernel refuses when there are more than the backlog.
func fill(l recording.Listener) float64 { return float64(l.Queue) / float64(l.Backlog+1) }
