package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// OwnerRow is the endpoints of one owner, or of whatever else the groups were divided by. Its names are safe to print. Sizes are
// bytes.
type OwnerRow struct {
	Names []string // one a key
	// Where tells owners of one name apart: container, unit or cgroup of the process; or why no process has the endpoints.
	Where string
	// Nobody says that no process has the endpoints.
	Nobody  bool
	Sockets int
	States  []StateCount // the most first
	Bytes
	Idle  *float64 // seconds, the longest; nil where none is known
	id    string
	first string // the first name, without the number of processes
	pids  map[int]bool
}

// Bytes is what sockets hold.
type Bytes struct {
	Slab, Buffers, Receive, Send, Unread, Unacked uint64
	UnreadSockets, UnackedSockets                 int
}

// All is slab pages and buffers.
func (b *Bytes) All() float64 { return float64(b.Slab) + float64(b.Buffers) }

func (b *Bytes) add(o *Bytes) {
	b.Slab += o.Slab
	b.Buffers += o.Buffers
	b.Receive += o.Receive
	b.Send += o.Send
	b.Unread += o.Unread
	b.Unacked += o.Unacked
	b.UnreadSockets += o.UnreadSockets
	b.UnackedSockets += o.UnackedSockets
}

// StateCount is how many endpoints are in a state.
type StateCount struct {
	State string
	Count int
}

// Name is the names of all keys together.
func (r *OwnerRow) Name() string { return strings.Join(r.Names, " · ") }

// Each is what a socket holds, slab pages and buffers.
func (r *OwnerRow) Each() float64 { return format.Ratio(r.All(), float64(r.Sockets)) }

// StateList names the states, the most first.
func (r *OwnerRow) StateList() string {
	parts := make([]string, len(r.States))
	for i, s := range r.States {
		parts[i] = format.Count(s.Count) + " " + s.State
	}
	return strings.Join(parts, ", ")
}

// GroupBy divides the endpoints of a machine by one or two keys of OwnerKeys, by process where there is none. The costliest come
// first.
func GroupBy(m *recording.Machine, keys []string) ([]OwnerRow, error) {
	return ownersOf(m, keys, func(*recording.Group) bool { return true })
}

// ownersOf is GroupBy of the groups that a rule takes.
func ownersOf(m *recording.Machine, names []string, takes func(*recording.Group) bool) ([]OwnerRow, error) {
	keys, err := keysOf(names)
	if err != nil {
		return nil, err
	}
	keys = bound(keys, m)
	at := map[string]*OwnerRow{}
	var order []*OwnerRow
	for i := range m.Groups {
		g := &m.Groups[i]
		if !takes(g) {
			continue
		}
		label := labelOf(g, keys, listenersOf(m))
		row := at[label.id]
		if row == nil {
			row = &label
			row.first, row.Nobody, row.pids = label.Names[0], nobody(g) && keys[0].owned, map[int]bool{}
			at[label.id] = row
			order = append(order, row)
		}
		row.take(g)
	}
	rows := make([]OwnerRow, len(order))
	for i, row := range order {
		row.finish(keys)
		rows[i] = *row
	}
	sortOwners(rows, "bytes")
	return rows, nil
}

func listenersOf(m *recording.Machine) []recording.Listener {
	if m.Look == nil {
		return nil
	}
	return m.Look.Listeners
}

func nobody(g *recording.Group) bool { return g.Owner != recording.OwnerProcess }

// labelOf is what tells a group from those of other rows, and what it is called.
func labelOf(g *recording.Group, keys []ownerKey, listeners []recording.Listener) OwnerRow {
	row := OwnerRow{Names: make([]string, 0, len(keys))}
	ids := make([]string, 0, 2*len(keys))
	for _, k := range keys {
		id, name := k.of(g)
		owner := recording.OwnerProcess
		switch {
		case k.owned && nobody(g):
			owner = g.Owner
			name, row.Where = whyNobody(g, listeners)
			id = row.Where
		case k.name == "process" || k.name == "pid":
			row.Where = place(g)
		}
		ids, row.Names = append(ids, string(owner), id), append(row.Names, format.Clean(name))
	}
	row.id, row.Where = joined(ids...), format.Clean(row.Where)
	return row
}

func (r *OwnerRow) take(g *recording.Group) {
	n := max(g.Count, 0)
	r.Sockets += n
	state := format.Clean(g.State)
	at := slices.IndexFunc(r.States, func(s StateCount) bool { return s.State == state })
	if at < 0 {
		at = len(r.States)
		r.States = append(r.States, StateCount{State: state})
	}
	r.States[at].Count += n
	r.add(&Bytes{Slab: g.PageBytes, Buffers: g.BufferBytes, Receive: g.RxBytes, Send: g.TxBytes, Unread: g.UnreadBytes,
		Unacked: g.UnackedBytes, UnreadSockets: g.UnreadSockets, UnackedSockets: g.UnackedSockets})
	if g.Idle != nil && (r.Idle == nil || g.Idle.Max > *r.Idle) {
		r.Idle = &g.Idle.Max
	}
	if g.PID > 0 {
		r.pids[g.PID] = true
	}
	for _, pid := range g.PIDs {
		r.pids[pid] = true
	}
}

// finish names a row by how many processes it is of, where they are one by their name.
func (r *OwnerRow) finish(keys []ownerKey) {
	slices.SortStableFunc(r.States, func(a, b StateCount) int { return cmp.Compare(b.Count, a.Count) })
	for i, k := range keys {
		if k.name == "process" && len(r.pids) > 1 {
			r.Names[i] = fmt.Sprintf("%s x%d", r.Names[i], len(r.pids))
		}
	}
}

// ownerOrder is something that rows can be sorted by, the most first.
type ownerOrder struct {
	name string
	of   func(*OwnerRow) float64
}

var ownerOrders = []ownerOrder{
	{"bytes", func(r *OwnerRow) float64 { return r.All() }},
	{"sockets", func(r *OwnerRow) float64 { return float64(r.Sockets) }},
	{"slab", func(r *OwnerRow) float64 { return float64(r.Slab) }},
	{"buffers", func(r *OwnerRow) float64 { return float64(r.Buffers) }},
	{"unread", func(r *OwnerRow) float64 { return float64(r.Unread) }},
	{"idle", func(r *OwnerRow) float64 {
		if r.Idle == nil {
			return -1
		}
		return *r.Idle
	}},
}

// OwnerOrders are the names of what the rows of owners can be sorted by.
func OwnerOrders() []string {
	names := make([]string, len(ownerOrders))
	for i, o := range ownerOrders {
		names[i] = o.name
	}
	return names
}

// OwnerOrder is one of OwnerOrders by its name: what rows are sorted by, the most first; nil where there is none of that name.
func OwnerOrder(name string) func(*OwnerRow) float64 {
	if o := orderOf(name); o.name == name {
		return o.of
	}
	return nil
}

// orderOf is an order by its name, else the first.
func orderOf(name string) ownerOrder {
	return ownerOrders[max(slices.IndexFunc(ownerOrders, func(o ownerOrder) bool { return o.name == name }), 0)]
}

// sortOwners sorts rows by one of the orders; what is the same in it goes by bytes, and then by name.
func sortOwners(rows []OwnerRow, order string) {
	of := orderOf(order).of
	slices.SortStableFunc(rows, func(a, b OwnerRow) int { return cmp.Or(cmp.Compare(of(&b), of(&a)), CompareOwners(&a, &b)) })
}

// CompareOwners orders what is the same in an order: by bytes, sockets, and then by name.
func CompareOwners(a, b *OwnerRow) int {
	return cmp.Or(cmp.Compare(b.All(), a.All()), cmp.Compare(b.Sockets, a.Sockets), strings.Compare(a.Name(), b.Name()),
		strings.Compare(a.id, b.id))
}
