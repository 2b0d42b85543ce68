package account

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Sockets is the endpoints of a host at one moment, from one walk.
type Sockets struct {
	All *Others // all that the walk has visited
	// Own are those of the run; TimeWait of them are in TIME_WAIT, and Rest in any other state.
	Own            *Others
	TimeWait, Rest int
}

// NewSockets makes an empty one.
func NewSockets() *Sockets { return &Sockets{All: NewOthers(), Own: NewOthers()} }

// Visit enters a walked endpoint, one of the run's own or another.
func (s *Sockets) Visit(e *kernel.Endpoint, own bool) {
	s.All.Visit(e)
	switch {
	case !own:
		return
	case e.State == kernel.StateTimeWait:
		s.TimeWait++
	default:
		s.Rest++
	}
	s.Own.Visit(e)
}

// Stock is slab memory at one moment, and the sockets that the kernel had just before it was read and just after.
type Stock struct {
	At          time.Time
	Slabs       Snapshot
	First, Then *Sockets
	AfterRCU    bool
	AtOnce      bool // only the counts of caches that endpoints have objects in are settled
}

// Stays is the evidence of what connections have left behind.
type Stays struct {
	Closed  int
	Took    time.Duration // to close them
	Idle    []Stock       // without connections, in the order of time
	Before  Stock         // the first connection
	Last    time.Time     // when the last was closed
	Moments []Stock
}

// stockIn is one cache in a stock.
type stockIn struct {
	free      int64   // active objects that no socket holds
	inSockets int64   // of the run's own sockets
	skew      float64 // what sockets came to hold or let go of meanwhile
}

// by divides a stock by slab cache. Caches that neither had nor have an object are left out.
func (s Stock) by(caches *Caches) map[string]stockIn {
	first, then, own := s.First.All.byCache(caches), s.Then.All.byCache(caches), s.Then.Own.byCache(caches)
	sums := map[string]stockIn{}
	for name, slab := range s.Slabs.Slabs {
		sums[name] = stockIn{free: int64(slab.ActiveObjects) - then[name].objects, inSockets: own[name].objects,
			skew: math.Abs(float64(then[name].objects - first[name].objects))}
	}
	return sums
}

// Fill works out what has stayed in each cache.
func (s Stays) Fill(caches *Caches) *recording.Stays {
	drift := driftOf(s.Idle, caches)
	out := &recording.Stays{Closed: s.Closed, CloseSeconds: s.Took.Seconds(), Idle: drift.idle, Moments: []recording.StayMoment{}}
	before := s.Before.by(caches)
	rows := map[string]*recording.StayCache{}
	for i, now := range s.Moments {
		factor := drift.over(now.At.Sub(s.Before.At))
		out.Moments = append(out.Moments, recording.StayMoment{Seconds: now.At.Sub(s.Last).Seconds(), AfterRCU: now.AfterRCU, AtOnce: now.AtOnce,
			SlabBytes:  int64(now.Slabs.SlabBytes) - int64(s.Before.Slabs.SlabBytes),
			ErrorBytes: int64(math.Ceil(drift.slabBytes * factor)),
			TimeWait:   now.Then.TimeWait - s.Before.Then.TimeWait, Others: now.Then.Rest - s.Before.Then.Rest})
		for name, in := range now.by(caches) {
			was := before[name]
			row := rows[name]
			if row == nil {
				row = newStayCache(caches, now.Slabs.Slabs[name], len(s.Moments))
				rows[name] = row
			}
			row.Left[i] = in.free - was.free
			row.InSockets[i] = in.inSockets - was.inSockets
			row.Errors[i] = int64(math.Ceil(drift.objects[name]*factor + in.skew + was.skew))
		}
	}
	out.Caches = worthTelling(rows, s.Moments)
	return out
}

func newStayCache(caches *Caches, slab kernel.Slab, moments int) *recording.StayCache {
	return &recording.StayCache{Cache: slab.Name, Types: caches.typesIn(slab.Name), ObjectBytes: slab.ObjectBytes,
		PageBytesEachObject: slab.PageBytesEach(), Left: make([]int64, moments), InSockets: make([]int64, moments),
		Errors: make([]int64, moments)}
}

// worthTelling are the caches of endpoints, and others that held more than before at some moment, beyond the error.
func worthTelling(rows map[string]*recording.StayCache, moments []Stock) []recording.StayCache {
	list := []recording.StayCache{}
	for _, row := range rows {
		beyond := false
		for i := range row.Left {
			beyond = beyond || row.Stay(i) > 0 && !moments[i].AtOnce
		}
		if beyond || len(row.Types) > 0 {
			list = append(list, *row)
		}
	}
	bytes := func(c recording.StayCache) int64 { return c.Stay(len(c.Left)-1) * int64(c.ObjectBytes) }
	slices.SortFunc(list, func(a, b recording.StayCache) int {
		return cmp.Or(cmp.Compare(bytes(b), bytes(a)), cmp.Compare(len(b.Types), len(a.Types)), cmp.Compare(a.Cache, b.Cache))
	})
	return list
}

// drift is by how much a host's slab memory changes without connections.
type drift struct {
	idle      recording.Idle
	slabBytes float64
	objects   map[string]float64 // by cache, without what sockets hold
}

// driftOf is the widest range of the readings.
func driftOf(idle []Stock, caches *Caches) drift {
	d := drift{objects: map[string]float64{}}
	if len(idle) == 0 {
		return d
	}
	d.idle = recording.Idle{Seconds: idle[len(idle)-1].At.Sub(idle[0].At).Seconds(), Readings: len(idle)}
	least, most := map[string]int64{}, map[string]int64{}
	low, high := uint64(math.MaxUint64), uint64(0)
	for i, s := range idle {
		low, high = min(low, s.Slabs.SlabBytes), max(high, s.Slabs.SlabBytes)
		for name, in := range s.by(caches) {
			if _, met := least[name]; !met && i > 0 { // it was made meanwhile
				least[name] = 0
			}
			if _, met := least[name]; !met {
				least[name], most[name] = in.free, in.free
			}
			least[name], most[name] = min(least[name], in.free), max(most[name], in.free)
			d.objects[name] = max(d.objects[name], in.skew)
		}
	}
	d.slabBytes = float64(high - low)
	for _, name := range slices.Sorted(maps.Keys(least)) {
		d.objects[name] += float64(most[name] - least[name])
	}
	return d
}

// over is how many times the watch's range something may change by in a span of time: by as much in a shorter one.
func (d drift) over(span time.Duration) float64 {
	if d.idle.Seconds <= 0 {
		return 1
	}
	return max(1, span.Seconds()/d.idle.Seconds)
}

// typesIn are the types of objects that a cache, as it is listed, serves.
func (c *Caches) typesIn(listed string) []string {
	var names []string
	for t := range kernel.Types {
		serves := listed != "" && c.byType[t].Cache == listed
		for _, name := range kernel.Types[t].Caches {
			cost, ok := c.named(name)
			serves = serves || ok && cost.Cache == listed
		}
		if serves && kernel.ObjectType(t) != kernel.SlabObjExt {
			names = append(names, kernel.Types[t].Name)
		}
	}
	return names
}
