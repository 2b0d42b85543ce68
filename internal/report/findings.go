package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Finding is what stands out, with its figure and its owner, and what to do about it.
type Finding struct{ Rule, Sentence, Advice string }

// figures are what the sentences of a rule are filled with.
type figures struct {
	owner, name  string // nginx x4 (nginx.service), and nginx
	where        string
	count        int
	noun         [2]string // of the count, socket and sockets where it is empty
	bytes        float64
	share, limit float64
	idle         *float64
}

// whereWidth keeps a sentence about an owner short.
const whereWidth = 48

// maxFindings is how many findings a rule lists.
const maxFindings = 5

// findingsOf are what the rules find, in their order.
func findingsOf(m *recording.Machine) []Finding {
	var list []Finding
	for _, rule := range Rules {
		found := rule.find(m, rule.From)
		for _, f := range found[:min(len(found), maxFindings)] {
			fill := f.filler()
			list = append(list, Finding{rule.Name, fill.Replace(rule.Sentence), fill.Replace(rule.Advice)})
		}
		if rest := found[min(len(found), maxFindings):]; len(rest) > 0 {
			count := 0
			for _, f := range rest {
				count += f.count
			}
			list = append(list, Finding{Rule: rule.Name, Sentence: "the same of " + format.Plural(len(rest), "other", "others") +
				", with " + format.Plural(count, "socket", "sockets")})
		}
	}
	return list
}

func (f *figures) filler() *strings.Replacer {
	noun, idle := f.noun, "an unknown time"
	if noun[0] == "" {
		noun = [2]string{"socket", "sockets"}
	}
	if f.idle != nil {
		idle = format.Span(*f.idle)
	}
	return strings.NewReplacer("{owner}", f.owner, "{name}", orNone(f.name, "the process"), "{where}", f.where,
		"{count}", format.Plural(f.count, noun[0], noun[1]), "{bytes}", format.Size(f.bytes),
		"{share}", format.Percent(f.share, 1), "{limit}", format.Count(int64(f.limit)), "{idle}", idle)
}

// ownedBy makes figures of each owner of some groups, those with the most of them first.
func ownedBy(m *recording.Machine, takes func(*recording.Group) bool, of func(*OwnerRow) figures) []figures {
	rows, _ := ownersOf(m, nil, takes) // process is a key
	var list []figures
	for i := range rows {
		f := of(&rows[i])
		if f.count <= 0 {
			continue
		}
		f.owner, f.name = rows[i].Name(), rows[i].first
		if rows[i].Where != "" {
			f.owner += " (" + format.Shorten(rows[i].Where, whereWidth) + ")"
		}
		list = append(list, f)
	}
	slices.SortStableFunc(list, func(a, b figures) int { return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(b.count, a.count)) })
	return list
}

// atLeast makes figures of the sockets of an owner, where there are enough.
func atLeast(least int) func(*OwnerRow) figures {
	return func(r *OwnerRow) figures {
		if r.Sockets < least {
			return figures{}
		}
		return figures{count: r.Sockets, bytes: r.All(), idle: r.Idle}
	}
}

// ofProcess tells whether a process has the endpoints of a group.
func ofProcess(g *recording.Group) bool { return g.Owner == recording.OwnerProcess }

// idleFor is whether half of a group have carried nothing for so many seconds.
func idleFor(g *recording.Group, seconds float64) bool { return g.Idle != nil && g.Idle.P50 >= seconds }

func in(g *recording.Group, state kernel.State) bool { return g.State == state.String() }

func closeWaits(m *recording.Machine, from Threshold) []figures {
	return ownedBy(m, func(g *recording.Group) bool {
		return ofProcess(g) && in(g, kernel.StateCloseWait) && (g.Idle == nil || idleFor(g, from.Idle))
	}, atLeast(from.Sockets))
}

func unconnecteds(m *recording.Machine, from Threshold) []figures {
	return ownedBy(m, func(g *recording.Group) bool { return ofProcess(g) && in(g, kernel.StateClose) }, atLeast(from.Sockets))
}

func withoutAnyTraffic(m *recording.Machine, from Threshold) []figures {
	return ownedBy(m, func(g *recording.Group) bool {
		return ofProcess(g) && in(g, kernel.StateEstablished) && idleFor(g, from.Idle)
	}, atLeast(from.Sockets))
}

// unreads leave out accept queues: those have a rule of their own.
func unreads(m *recording.Machine, from Threshold) []figures {
	return ownedBy(m, ofProcess, func(r *OwnerRow) figures {
		if r.Unread < from.Bytes {
			return figures{}
		}
		return figures{count: r.UnreadSockets, bytes: float64(r.Unread)}
	})
}

// unackeds take a group whose sockets are for the most part both idle and not acknowledged: of a server that sends to a few and
// keeps many open, the idle ones are others than those that send.
func unackeds(m *recording.Machine, from Threshold) []figures {
	return ownedBy(m, func(g *recording.Group) bool {
		return ofProcess(g) && idleFor(g, from.Idle) && g.UnackedSockets > g.Count/2
	}, func(r *OwnerRow) figures {
		if r.Unacked < from.Bytes {
			return figures{}
		}
		return figures{count: r.UnackedSockets, bytes: float64(r.Unacked)}
	})
}

func acceptQueues(m *recording.Machine, from Threshold) []figures {
	var list []figures
	for _, l := range listenersOf(m) {
		// The kernel refuses once there are more than the backlog (sk_acceptq_is_full).
		share := format.Ratio(float64(l.Queue), float64(l.Backlog)+1)
		if l.Queue < from.Sockets || share < from.Share {
			continue
		}
		name := format.Clean(orNone(l.Comm, "a process that is not known"))
		list = append(list, figures{owner: name, name: name, where: format.Clean(l.Address), count: l.Queue,
			noun: [2]string{"connection", "connections"}, share: format.Ratio(float64(l.Queue), max(float64(l.Backlog), 1)),
			limit: float64(l.Backlog)})
	}
	return list
}

// ofLimit makes figures of a count that has come near its limit.
func ofLimit(count, limit int, least float64) []figures {
	if share := format.Ratio(float64(count), float64(limit)); limit > 0 && share >= least {
		return []figures{{count: count, share: share, limit: float64(limit)}}
	}
	return nil
}

func orphans(m *recording.Machine, from Threshold) []figures {
	if m.Look == nil {
		return nil
	}
	return ofLimit(m.Look.Orphans, m.Look.OrphansMax, from.Share)
}

func timeWaits(m *recording.Machine, from Threshold) []figures {
	if m.Look == nil {
		return nil
	}
	return ofLimit(m.Look.TimeWaits, m.Look.TimeWaitsMax, from.Share)
}

func trackedEntries(m *recording.Machine, from Threshold) []figures {
	if m.Look == nil {
		return nil
	}
	found := ofLimit(m.Look.Tracked, m.Look.TrackedMax, from.Share)
	for i := range found {
		found[i].noun = [2]string{"entry", "entries"}
	}
	return found
}

func tcpMem(m *recording.Machine, from Threshold) []figures {
	if m.Books == nil || m.Books.Pages.LimitPressure <= 0 {
		return nil
	}
	p := &m.Books.Pages
	share := format.Ratio(float64(p.Kernel), float64(p.LimitPressure))
	if share < from.Share {
		return nil
	}
	return []figures{{count: int(p.Kernel), noun: [2]string{"page", "pages"}, share: share, limit: float64(p.LimitPressure)}}
}

func unreachables(m *recording.Machine, from Threshold) []figures {
	if m.Books == nil || m.Books.Sockets.Unreachable < from.Sockets {
		return nil
	}
	return []figures{{count: m.Books.Sockets.Unreachable}}
}
