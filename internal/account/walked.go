package account

import (
	"net/netip"

	"github.com/connprof/connprof/internal/kernel"
)

type addressKey struct {
	address netip.Addr
	role    kernel.Role
}

// space is what is told apart by network namespace: two containers may have the same addresses and ports.
type space struct {
	listening listening
	services  map[netip.AddrPort]bool // that Service told of
	addresses map[addressKey]*int
	// lastAddress is the one that was last counted, by role: a server has few.
	lastAddress [kernel.RoleBoth]struct {
		address netip.Addr
		count   *int
	}
	ports portCounts
}

// walked sums the endpoints of a walk.
type walked struct {
	spaces map[uint32]*space // by inode number of the network namespace
	last   *space            // of the namespace lastNetns: endpoints of one come together
	// whole has the endpoints of all groups together, parts the same divided by group, if that is asked for.
	whole, parts tallies
	// standing has those that were there before the growth began. A bucket that they share with later ones was there, too.
	standing  tallies
	groups    groups
	sums      walkSums
	top       topHeap
	skipped   uint64
	unclaimed uint64
	lastNetns uint32
}

func newWalked() walked {
	return walked{spaces: map[uint32]*space{}, whole: newTallies(), parts: newTallies(), standing: newTallies()}
}

func (w *walked) space(netns uint32) *space {
	if w.last != nil && w.lastNetns == netns {
		return w.last
	}
	s := w.spaces[netns]
	if s == nil {
		s = &space{listening: listening{}, services: map[netip.AddrPort]bool{}, addresses: map[addressKey]*int{}}
		w.spaces[netns] = s
	}
	w.last, w.lastNetns = s, netns
	return s
}

func (s *space) countAddress(address netip.Addr, role kernel.Role) {
	last := &s.lastAddress[role]
	if last.count == nil || last.address != address {
		key := addressKey{address, role}
		if s.addresses[key] == nil {
			s.addresses[key] = new(int)
		}
		last.address, last.count = address, s.addresses[key]
	}
	*last.count++
}

// several tells whether endpoints of more than one network namespace were met.
func (w *walked) several() bool {
	n := 0
	for _, s := range w.spaces {
		n += min(len(s.addresses), 1)
	}
	return n > 1
}

// Standing enters an endpoint that Visit has entered as one that was there before the growth began.
func (l *Ledger) Standing(e *kernel.Endpoint, caches *Caches) {
	w := &l.walk
	key := tallyKey{rowKey: rowKey{l.Role(e), e.State}, v6: e.Local.Addr().Is6(), cache: e.Cache, head: e.SKBHeadBytes}
	t := w.standing.of(key)
	if t.costs == nil {
		t.costs = costsOf(e, caches)
	}
	w.standing.enter(t, e)
}

// Visit enters a walked endpoint. Listeners come first.
func (l *Ledger) Visit(e *kernel.Endpoint, caches *Caches) kernel.Role {
	w := &l.walk
	s := w.space(e.Netns)
	o, traced := l.endpoint(e.Sock)
	role := s.role(e, o)
	switch role {
	case kernel.RoleListener:
		s.listening.add(e)
	case kernel.RoleClient:
		s.ports.add(e)
	}
	if traced && role == kernel.RoleServer && o.pid == 0 && e.Objects[kernel.SocketAlloc] > 0 {
		w.unclaimed++
	}
	s.countAddress(e.Local.Addr(), role)
	t, group, objects := w.enter(s, e, role, caches)
	if objects == 0 || e.Truncated {
		w.skipped++
	}
	if w.ranks(t.key.rowKey, group) {
		w.rank(e, t, o.pid)
	}
	return role
}

// enter adds an endpoint to its tallies. It gives the one of all groups, the number of its group, and that of its objects.
func (w *walked) enter(s *space, e *kernel.Endpoint, role kernel.Role, caches *Caches) (t *tally, group uint32, objects int) {
	key := tallyKey{rowKey: rowKey{role, e.State}, v6: e.Local.Addr().Is6(), cache: e.Cache, head: e.SKBHeadBytes}
	t = w.whole.of(key)
	if t.costs == nil {
		t.costs = costsOf(e, caches)
	}
	objects = w.whole.enter(t, e)
	if group = w.groups.of(s, e, role); group > 0 {
		key.group = group
		part := w.parts.of(key)
		part.costs = t.costs
		w.parts.enter(part, e)
		if w.groups.by.Live {
			part.queue(e)
		}
	}
	w.sums.add(e)
	return t, group, objects
}

// Pass enters an endpoint that is not asked for: it counts in the books, which are the whole host's, and as a listener whose
// connections may be.
func (l *Ledger) Pass(e *kernel.Endpoint) {
	l.Announce(e)
	l.walk.sums.add(e)
}

// Announce makes a listener known whose visit comes later than those of its connections. Of other endpoints it does nothing.
func (l *Ledger) Announce(e *kernel.Endpoint) {
	if e.State == kernel.StateListen {
		l.walk.space(e.Netns).listening.add(e)
	}
}

// Skipped is how many endpoints the walk met but could not follow to the end.
func (l *Ledger) Skipped() uint64 { return l.walk.skipped }

// Unclaimed is how many endpoints whose handshake was traced have been accepted by nobody knows whom.
func (l *Ledger) Unclaimed() uint64 { return l.walk.unclaimed }

// Count is how many endpoints of a role are in a state.
func (l *Ledger) Count(role kernel.Role, state kernel.State) int {
	n := 0
	for key, t := range l.walk.whole.byKey {
		if key.rowKey == (rowKey{role, state}) {
			n += t.count
		}
	}
	return n
}
