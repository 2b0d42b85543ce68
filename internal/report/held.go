package report

import (
	"fmt"
	"math"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Held is what the endpoints of a path are, where it is no call path but what an owner holds. Its texts are safe to print.
type Held struct {
	Owner, State, Container, Cgroup, Netns, Listener, Service string
	// Code says that the path is code of a program, and the kernel's objects below it.
	Code bool
}

// queued are the names of what no slab cache has, in the place of an object type.
const (
	receiveQueue = "receive queue"
	sendQueue    = "send queue"
	otherQueued  = "socket options"
)

// heldPaths are the paths of a look: owner, state and object, with the bytes and, at the object that a socket is, the number of sockets.
// A recording has the objects of each role and state only: a group's bytes are divided as those of its role and state are.
func heldPaths(m *recording.Machine) []*Path {
	byKey := map[string]*Path{}
	for i := range m.Groups {
		g := &m.Groups[i]
		of := heldBy(g, listenersOf(m))
		for _, p := range portions(m, g) {
			p.Role, p.Of, p.Frames = g.Role, of, []string{of.Owner, of.State}
			into := byKey[p.key()]
			if into == nil {
				byKey[p.key()] = p
				continue
			}
			into.Bytes += p.Bytes
			into.Count += p.Count
		}
	}
	return sortedPaths(byKey)
}

func heldBy(g *recording.Group, listeners []recording.Listener) *Held {
	owner := labelOf(g, ownerKeys[:1], listeners)
	h := &Held{Owner: owner.Names[0], State: format.Clean(g.State), Container: format.Clean(g.Container), Cgroup: format.Clean(g.Cgroup),
		Listener: format.Clean(g.Listener), Service: format.Clean(g.Service)}
	if owner.Where != "" {
		h.Owner += " (" + owner.Where + ")"
	}
	if g.Netns != 0 {
		h.Netns = fmt.Sprint(g.Netns)
	}
	return h
}

// portions are a group's bytes by object, and by queue.
func portions(m *recording.Machine, g *recording.Group) []*Path {
	var list []*Path
	add := func(objectType, cache string, bytes uint64) {
		if bytes > 0 {
			list = append(list, &Path{Type: objectType, Cache: cache, Bytes: bytes})
		}
	}
	if row := rowOf(m, g); row != nil && row.PageBytes > 0 {
		sum, given := 0.0, uint64(0)
		for _, o := range row.Objects {
			sum += float64(o.PageBytes)
			due := min(uint64(math.Round(min(sum/float64(row.PageBytes), 1)*float64(g.PageBytes))), g.PageBytes)
			due = max(due, given)
			add(format.Clean(o.Type), format.Clean(o.Cache), due-given)
			given = due
		}
		add("other objects", "", g.PageBytes-given)
	} else {
		add("objects", "", g.PageBytes)
	}
	add(receiveQueue, "", g.RxBytes)
	add(sendQueue, "", g.TxBytes)
	add(otherQueued, "", g.BufferBytes-min(g.BufferBytes, g.RxBytes+g.TxBytes))
	if len(list) == 0 {
		list = []*Path{{Type: "nothing"}}
	}
	socketOf(list).Count = uint64(max(g.Count, 0))
	return list
}

// socketOf is the object that stands for the socket itself, the first where none does.
func socketOf(list []*Path) *Path {
	for _, p := range list {
		if Categories[CategoryOf(p.Type)].ID == "sock" {
			return p
		}
	}
	return list[0]
}

func rowOf(m *recording.Machine, g *recording.Group) *recording.EndpointRow {
	for i := range m.Endpoints {
		if row := &m.Endpoints[i]; row.Role == g.Role && row.State == g.State {
			return row
		}
	}
	return nil
}
