package remote

import (
	"net"
	"net/netip"
	"slices"
)

// Strangers are callers who have not proved themselves yet: they have peer's few seconds, and the memory of a handshake. They
// share a few places. Where these are taken, a new one takes that of the oldest: a client that knows the token needs its place
// for a moment only, and one that says nothing would keep it for as long as it may.
const (
	maxStrangers        = 16
	maxStrangersAddress = 4
)

// stranger is a caller whose proof is awaited.
type stranger struct {
	from netip.Addr
	conn net.Conn
}

// strangers are those that are let in, the oldest first.
type strangers []*stranger

// add lets a caller in, and turns away the one that has to make room: the oldest from the same address where that has its part
// of the places, else the oldest of the address that has the most of them.
func (s *strangers) add(c net.Conn, from netip.Addr) (caller, gone *stranger) {
	held := map[netip.Addr]int{}
	for _, other := range *s {
		held[other.from]++
	}
	most := from
	if held[from] < maxStrangersAddress {
		for _, other := range *s { // the oldest of those that have equally many
			if held[other.from] > held[most] {
				most = other.from
			}
		}
	}
	if held[from] >= maxStrangersAddress || len(*s) >= maxStrangers {
		gone = (*s)[slices.IndexFunc(*s, func(other *stranger) bool { return other.from == most })]
		s.remove(gone)
		_ = gone.conn.Close()
	}
	caller = &stranger{from, c}
	*s = append(*s, caller)
	return caller, gone
}

// remove tells whether the caller was still among them.
func (s *strangers) remove(caller *stranger) bool {
	i := slices.Index(*s, caller)
	if i < 0 {
		return false
	}
	*s = slices.Delete(*s, i, i+1)
	return true
}
