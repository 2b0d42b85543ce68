package account

import (
	"strconv"
	"time"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// queued sums what a look at a running host asks of queues beside their memory.
type queued struct {
	pageCache                     uint64
	unread, unacked               uint64
	unreadSockets, unackedSockets int
	idle                          idleTimes
}

// add enters an endpoint. A listener's unread is no data, and it carries none that could be idle.
func (q *queued) add(e *kernel.Endpoint, role kernel.Role) {
	if role == kernel.RoleListener || !full(e) {
		return
	}
	v := &e.Live
	q.pageCache += uint64(v.PageCache)
	if n := e.UnreadData(); n > 0 {
		q.unread += uint64(n)
		q.unreadSockets++
	}
	if v.Unacked > 0 {
		q.unacked += uint64(v.Unacked)
		q.unackedSockets++
	}
	q.idle.add(v.Idle)
}

func (q *queued) join(p *queued) {
	q.pageCache += p.pageCache
	q.unread += p.unread
	q.unacked += p.unacked
	q.unreadSockets += p.unreadSockets
	q.unackedSockets += p.unackedSockets
	q.idle.join(&p.idle)
}

// fill writes the sums into a group.
func (q *queued) fill(g *recording.Group) {
	g.PageCacheBytes, g.UnreadBytes, g.UnackedBytes = q.pageCache, q.unread, q.unacked
	g.UnreadSockets, g.UnackedSockets = q.unreadSockets, q.unackedSockets
	g.Idle = q.idle.spread()
}

// idleTimes is a histogram of times. Its steps are a quarter of an octave of milliseconds, up to 49 days: the kernel's jiffies
// tell no more (32 bits).
type idleTimes struct {
	counts  map[uint8]uint32
	n       int
	longest time.Duration
}

// add enters a time; one that is not known is negative.
func (t *idleTimes) add(idle time.Duration) {
	if idle < 0 {
		return
	}
	if t.counts == nil {
		t.counts = map[uint8]uint32{}
	}
	t.counts[uint8(kernel.Step(uint64(idle.Milliseconds())))]++
	t.n++
	t.longest = max(t.longest, idle)
}

func (t *idleTimes) join(p *idleTimes) {
	for step, n := range p.counts {
		if t.counts == nil {
			t.counts = map[uint8]uint32{}
		}
		t.counts[step] += n
	}
	t.n += p.n
	t.longest = max(t.longest, p.longest)
}

// spread is nil where no time is known. The median is that of a step, within an eighth of it.
func (t *idleTimes) spread() *recording.Spread {
	if t.n == 0 {
		return nil
	}
	s := &recording.Spread{Max: t.longest.Seconds()}
	seen := 0
	for step := range uint8(255) {
		if seen += int(t.counts[step]); 2*seen >= t.n {
			s.P50 = min(kernel.StepMiddle(int(step))/1000, s.Max)
			return s
		}
	}
	return s
}

// liveColumns are what a list of endpoints has of a running host beside a run's columns. Where a time is not known its cell is
// empty; an age is at least so much.
var liveColumns = []string{"netns", "owner", "uid", "cgroup", "container", "age_seconds", "idle_seconds", "rx_bytes", "tx_bytes",
	"page_cache_bytes", "unread_bytes", "unacked_bytes"}

func (l *Ledger) appendLive(row []string, e *kernel.Endpoint) []string {
	kind, who := l.OwnerOf(e)
	var cgroup, container string
	uid := e.Live.UID
	if who != nil {
		cgroup, container = who.Cgroup, who.Container
		if len(who.PIDs) > 0 {
			uid = who.UID
		}
	}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	return append(row, number(uint64(e.Netns)), string(kind), number(uint64(uid)), format.Cell(format.Clean(cgroup)),
		format.Cell(format.Clean(container)), cellOf(e.Live.Age), cellOf(e.Live.Idle), number(uint64(e.Buffers.Rmem)+uint64(e.Buffers.Backlog)),
		number(uint64(e.Buffers.Wmem)), number(uint64(e.Live.PageCache)), number(uint64(e.UnreadData())), number(uint64(e.Live.Unacked)))
}

func cellOf(d time.Duration) string {
	if s := secondsOf(d); s != nil {
		return strconv.FormatFloat(*s, 'f', 3, 64)
	}
	return ""
}

// secondsOf is nil for a time that is not known.
func secondsOf(d time.Duration) *float64 {
	if d < 0 {
		return nil
	}
	s := d.Seconds()
	return &s
}
