package account

import (
	"cmp"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// OpenerShare is what the endpoints of one opener hold.
type OpenerShare struct {
	Count                               int
	ObjectBytes, PageBytes, BufferBytes uint64
	RxBytes, TxBytes                    uint64
	Objects                             []recording.ObjectRow
	States                              []recording.StateCount
	Idle                                *recording.Spread
}

// ByOpener divides the walk by Grouping.Opener. It comes after FillWalk.
func (l *Ledger) ByOpener(caches *Caches) map[uint32]*OpenerShare {
	rows, states := map[uint32]*row{}, map[uint32]map[kernel.State]int{}
	for _, t := range l.walk.parts.sorted(l.walk.groups.keys) {
		opener := l.walk.groups.keys[t.key.group].opener
		if rows[opener] == nil {
			rows[opener], states[opener] = newRow(), map[kernel.State]int{}
		}
		rows[opener].addTally(t, caches)
		states[opener][t.key.state] += t.count
	}
	shares := map[uint32]*OpenerShare{}
	for opener, r := range rows {
		sum := r.endpointRow(rowKey{})
		shares[opener] = &OpenerShare{Count: sum.Count, ObjectBytes: sum.ObjectBytes, PageBytes: sum.PageBytes, BufferBytes: sum.BufferBytes,
			RxBytes: r.buffers.rx, TxBytes: r.buffers.tx, Objects: sum.Objects, States: stateCounts(states[opener]), Idle: r.queued.idle.spread()}
	}
	return shares
}

// stateCounts lists states, most frequent first.
func stateCounts(counts map[kernel.State]int) (list []recording.StateCount) {
	for state, n := range counts {
		list = append(list, recording.StateCount{State: state.String(), Count: n})
	}
	slices.SortFunc(list, func(a, b recording.StateCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.State, b.State))
	})
	return list
}
