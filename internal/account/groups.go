package account

import (
	"cmp"
	"net/netip"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Grouping chooses what divides the account into groups, beside role and state. The zero value makes none.
type Grouping struct {
	Owners   Owners // who has which socket open; nil: not by owner
	Netns    bool
	Listener bool // for servers' ends, by what they were accepted at
	Service  bool // for clients' ends, by the remote address and port
	Peer     bool // by the remote address, in place of listener and service
	// Opener is the number of who opened an endpoint, 0 for none; nil: not by opener.
	Opener func(*kernel.Endpoint) uint32
	Live   bool // with what a walk that was asked for it has found: kernel.Live
	Most   int  // rows that are listed one by one; 0: DefaultGroups
	// Ranks chooses the groups of which the costliest endpoints are listed; nil: all.
	Ranks func(*recording.Group) bool
}

// DefaultGroups is how many rows of groups keep a recording small and leave nothing out that someone would look for.
const DefaultGroups = 2000

// GroupBy chooses how the walk is divided into groups. It comes before the first Visit.
func (l *Ledger) GroupBy(g Grouping) {
	if g.Most == 0 {
		g.Most = DefaultGroups
	}
	l.walk.groups = groups{by: g, bound: maxGroups}
	if g.Owners != nil || g.Opener != nil || g.Netns || g.Listener || g.Service || g.Peer {
		l.walk.groups.ids, l.walk.groups.keys = map[groupKey]uint32{}, []groupKey{{}}
	}
}

// Owners has the owners of what is walked from now on looked up anew.
func (l *Ledger) Owners(o Owners) { l.walk.groups.by.Owners = o }

// groupKey is what is the same of all endpoints of a group.
type groupKey struct {
	netns uint32
	kind  recording.OwnerKind
	owner *Owner
	at    netip.AddrPort // the listener of a server's end, the service of a client's
	peer  netip.Addr
	// opener is its number.
	opener uint32
	// others says that it stands for several listeners or services.
	others bool
}

func (k groupKey) compare(p groupKey) int {
	if k.others != p.others {
		if k.others {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(k.netns, p.netns), strings.Compare(string(k.kind), string(p.kind)), k.owner.compare(p.owner),
		k.at.Compare(p.at), k.peer.Compare(p.peer), cmp.Compare(k.opener, p.opener))
}

// withoutAddress is the group of the same owner whatever the listener or service.
func (k groupKey) withoutAddress() groupKey {
	if k.at.IsValid() || k.peer.IsValid() {
		k.at, k.peer, k.others = netip.AddrPort{}, netip.Addr{}, true
	}
	return k
}

// rest is the group of all owners that have none of their own.
func (groupKey) rest() groupKey { return groupKey{kind: recording.OwnerOther, others: true} }

// groups numbers the groups that are met. Tallies are divided by the number, which is quick to look up; 0 is for no groups.
type groups struct {
	by   Grouping
	ids  map[groupKey]uint32
	keys []groupKey // by number
	// bound is how many are kept. Beyond it the groups that are met first stay, and the others lose their listener or
	// service; beyond twice as many, all else is one group.
	bound int
	// ranked is what Grouping.Ranks said.
	ranked map[rankedKey]bool
}

// maxGroups bounds what a walk keeps in memory: 900 bytes a group.
const maxGroups = 1 << 15

// of is the number of an endpoint's group.
func (g *groups) of(s *space, e *kernel.Endpoint, role kernel.Role) uint32 {
	if g.ids == nil {
		return 0
	}
	key := g.key(s, e, role)
	if id, ok := g.ids[key]; ok {
		return id
	}
	if len(g.keys) >= g.bound {
		key = key.withoutAddress()
	}
	if _, ok := g.ids[key]; !ok && len(g.keys) >= 2*g.bound {
		key = key.rest()
	}
	id, ok := g.ids[key]
	if !ok {
		id = uint32(len(g.keys))
		g.ids[key] = id
		g.keys = append(g.keys, key)
	}
	return id
}

func (g *groups) key(s *space, e *kernel.Endpoint, role kernel.Role) groupKey {
	k := groupKey{}
	if g.by.Netns {
		k.netns = e.Netns
	}
	if g.by.Peer && role != kernel.RoleListener {
		k.peer = e.Remote.Addr().Unmap()
	}
	if g.by.Opener != nil {
		k.opener = g.by.Opener(e)
	}
	atListener := g.by.Listener && !g.by.Peer && (role == kernel.RoleServer || role == kernel.RoleListener)
	if g.by.Owners != nil {
		k.kind, k.owner = ownerOf(g.by.Owners, e)
		if k.kind == recording.OwnerAcceptQueue || k.kind == recording.OwnerRequest {
			k.netns, atListener = e.Netns, true // in whose queue is all there is to say of the owner
		}
	}
	if atListener {
		k.at = s.acceptedAt(e.Local)
	}
	if g.by.Service && !g.by.Peer && role == kernel.RoleClient {
		k.at = unmapped(e.Remote)
	}
	return k
}

// acceptedAt is the listener that takes what comes in at an address and port, that address itself if it is gone.
func (s *space) acceptedAt(local netip.AddrPort) netip.AddrPort {
	if at, ok := s.listening.parent(local); ok {
		return at
	}
	return unmapped(local)
}
