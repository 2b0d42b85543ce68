package report

import (
	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Holdings are the groups of a look for a page that divides them by levels which its reader chooses. Names are safe to print.
type Holdings struct {
	Levels []string // names of the levels, and of their columns in Groups
	Groups []Holding
	// Compositions are the objects of the endpoints of each role and state: a group's slab bytes are divided as they are.
	Compositions [][]Part
}

// Holding is one group. Was has what the older of two looks had, and Is the newer one, or the only one.
type Holding struct {
	Names       []string // one a level
	Composition int      // index into Compositions, -1 for none
	Old         bool     // of the older look
	Sockets     int
	Bytes
}

// Part is an object type's share of the slab bytes.
type Part struct {
	Type, Cache string
	Category    int // index into Categories
	Bytes       uint64
}

// LevelObject is the level that is no property of a group: the objects that it is made of.
const LevelObject = "object"

// holdingLevels are those of the groups.
var holdingLevels = []string{"owner", "state", "role", "container", "cgroup", "netns", "listener", "service", "uid"}

// Holdings are what a page's icicle is made from.
func (l *Look) Holdings() *Holdings {
	h := &Holdings{Levels: holdingLevels}
	h.add(l.machine, false)
	return h
}

// Holdings are those of both looks.
func (g *Growth) Holdings() *Holdings {
	h := &Holdings{Levels: holdingLevels}
	h.add(g.is, false)
	h.add(g.was, true)
	return h
}

func (h *Holdings) add(m *recording.Machine, old bool) {
	at := map[*recording.EndpointRow]int{}
	for i := range m.Endpoints {
		row := &m.Endpoints[i]
		at[row] = len(h.Compositions)
		parts := make([]Part, 0, len(row.Objects))
		for _, o := range row.Objects {
			parts = append(parts, Part{format.Clean(o.Type), format.Clean(o.Cache), CategoryOf(o.Type), o.PageBytes})
		}
		h.Compositions = append(h.Compositions, parts)
	}
	for i := range m.Groups {
		g := &m.Groups[i]
		holding := Holding{Names: holdingNames(m, g), Composition: -1, Old: old, Sockets: max(g.Count, 0),
			Bytes: Bytes{Slab: g.PageBytes, Buffers: g.BufferBytes, Receive: g.RxBytes, Send: g.TxBytes}}
		if row := rowOf(m, g); row != nil {
			holding.Composition = at[row]
		}
		h.Groups = append(h.Groups, holding)
	}
}

// holdingNames are a group's names on each level.
func holdingNames(m *recording.Machine, g *recording.Group) []string {
	names := make([]string, 0, len(holdingLevels))
	for _, level := range holdingLevels {
		if level == "owner" {
			names = append(names, heldBy(g, listenersOf(m)).Owner)
			continue
		}
		label := labelOf(g, []ownerKey{keyOf(level)}, listenersOf(m))
		names = append(names, label.Names[0])
	}
	return names
}
