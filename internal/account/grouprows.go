package account

import (
	"cmp"
	"math"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// partKey is what one row of the groups sums up.
type partKey struct {
	rowKey
	group groupKey
}

// part is one row of the groups while it is made up.
type part struct {
	key     partKey
	tallies []*tally
	weight  float64 // page and buffer bytes, to tell which are worth a row
}

// weigh is what a tally costs, near enough to compare it with others.
func (t *tally) weigh() float64 {
	weight := float64(t.buffers.sum())
	for kind := range t.objects {
		weight += (float64(t.objects[kind]) + t.split[kind]) * t.costs[kind].withVector
	}
	return weight
}

// partList gathers tallies by the keys they are given, costliest first.
type partList struct {
	list []*part
	at   map[partKey]*part
}

func (l *partList) add(key partKey, weight float64, tallies ...*tally) {
	p := l.at[key]
	if p == nil {
		p = &part{key: key}
		l.at[key] = p
		l.list = append(l.list, p)
	}
	p.weight += weight
	p.tallies = append(p.tallies, tallies...)
}

// sort leaves what weighs the same in the order in which it was added.
func (l *partList) sort() {
	slices.SortStableFunc(l.list, func(a, b *part) int { return cmp.Compare(b.weight, a.weight) })
}

// fold keeps the costliest parts and joins the others by a coarser key.
func (l *partList) fold(most int, coarser func(groupKey) groupKey) *partList {
	if len(l.list) <= most {
		return l
	}
	out := &partList{at: map[partKey]*part{}}
	for i, p := range l.list {
		key := p.key
		if i >= most {
			key.group = coarser(key.group)
		}
		out.add(key, p.weight, p.tallies...)
	}
	out.sort()
	return out
}

// partsOf divides the tallies into the rows of the groups. Beyond the bound they lose their listener or service, and where
// even that leaves twice as many, those that are least are one row for each role and state.
func (w *walked) partsOf() []*part {
	l := &partList{at: map[partKey]*part{}}
	for _, t := range w.parts.sorted(w.groups.keys) {
		l.add(partKey{t.key.rowKey, w.groups.keys[t.key.group]}, t.weigh(), t)
	}
	l.sort()
	most := w.groups.by.Most
	l = l.fold(most, groupKey.withoutAddress).fold(2*most, groupKey.rest)
	return l.list
}

// groupRows divides the rows of the account by group. Every figure of a row is shared out to the last byte, so that the
// groups add up to it.
func (w *walked) groupRows(rows map[rowKey]*row, caches *Caches) []recording.Group {
	if w.groups.ids == nil {
		return nil
	}
	parts := w.partsOf()
	sums := make([]*row, len(parts))
	shares := map[rowKey]*sharing{}
	for i, p := range parts {
		sums[i] = newRow()
		for _, t := range p.tallies {
			sums[i].addTally(t, caches)
		}
		s := shares[p.key.rowKey]
		if s == nil {
			s = &sharing{whole: rows[p.key.rowKey], given: map[cell]*given{}}
			shares[p.key.rowKey] = s
		}
		s.expect(sums[i])
	}
	list := make([]recording.Group, 0, len(parts))
	for i, p := range parts {
		g := p.key.describe()
		r := sums[i]
		g.Count, g.BufferBytes, g.RxBytes, g.TxBytes = r.count, r.buffers.sum(), r.buffers.rx, r.buffers.tx
		r.queued.fill(&g)
		g.ObjectBytes, g.PageBytes = shares[p.key.rowKey].give(r)
		list = append(list, g)
	}
	return list
}

func (k partKey) describe() recording.Group {
	g := recording.Group{Netns: k.group.netns, Owner: k.group.kind, Role: k.role, State: k.state.String(),
		Opener: int(k.group.opener)}
	if o := k.group.owner; o != nil {
		g.PID, g.Comm, g.UID, g.Cgroup = o.pid(), o.Comm, o.UID, o.Cgroup
		g.Unit, g.Container, g.Pod = o.Unit, o.Container, o.Pod
		if len(o.PIDs) > 1 {
			g.PIDs = o.PIDs
		}
	}
	at := ""
	switch {
	case k.group.peer.IsValid():
		g.Peer = k.group.peer.String()
		return g
	case k.group.others:
		at = recording.Other
	case k.group.at.IsValid():
		at = k.group.at.String()
	}
	if k.role == kernel.RoleClient {
		g.Service = at
	} else {
		g.Listener = at
	}
	return g
}

// sharing shares a row's bytes out among its groups, cell by cell, in proportion to the objects. Objects can be fractions
// of one (shared bind buckets), and bytes are whole: each group is given what brings the sum given so far to the nearest
// byte of its due, and the last one the rest.
type sharing struct {
	whole *row
	given map[cell]*given
}

// given is what of a cell has been shared out, and to how many groups more it will be.
type given struct {
	objects      float64
	object, page uint64
	left         int
}

// expect says that a group will be given its share.
func (s *sharing) expect(r *row) {
	for c := range r.objects {
		if s.given[c] == nil {
			s.given[c] = &given{}
		}
		s.given[c].left++
	}
}

// give is a group's share of the row's object bytes and page bytes.
func (s *sharing) give(r *row) (object, page uint64) {
	for c, n := range r.objects {
		total := s.whole.objects[c]
		_, objectBytes, pageBytes := c.totals(total)
		g := s.given[c]
		g.objects += n
		g.left--
		due := min(g.objects/total, 1)
		if g.left == 0 {
			due = 1
		}
		upTo := func(bytes uint64) uint64 { return uint64(math.Round(due * float64(bytes))) }
		object += upTo(objectBytes) - g.object
		page += upTo(pageBytes) - g.page
		g.object, g.page = upTo(objectBytes), upTo(pageBytes)
	}
	return object, page
}
