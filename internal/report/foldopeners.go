package report

import (
	"slices"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// The bounds of a record.
const (
	mostOpeners   = 2000
	mostLocations = 200_000
	mostOfOpener  = 64 // states, peers and errors of one
)

// foldOpeners keeps the openers that hold most, adds up the rest, and has the groups refer to those. What refers to no location of
// the machine's has names only. The machine is a copy, its lists are not.
func foldOpeners(m *recording.Machine) {
	m.Locations = m.Locations[:min(len(m.Locations), mostLocations)]
	if len(m.Openers) > mostOpeners {
		foldRest(m)
	} else {
		m.Openers = slices.Clone(m.Openers)
	}
	room := mostPathsIn
	for i := range m.Openers {
		o := &m.Openers[i]
		foldFrames(m, o)
		if room -= framesBytes(o); room < 0 {
			o.Frames, o.Locations = innermost(o.Frames, 1), innermost(o.Locations, 1)
		}
		o.States = o.States[:min(len(o.States), mostOfOpener)]
		o.Peers = o.Peers[:min(len(o.Peers), mostOfOpener)]
		o.Errors = o.Errors[:min(len(o.Errors), mostOfOpener)]
		o.Tenths = o.Tenths[:min(len(o.Tenths), 2*tenths)]
		o.Objects = foldObjects(o.Objects)
	}
}

// foldRest keeps mostOpeners; each role has one for the rest.
func foldRest(m *recording.Machine) {
	places := make([]int, len(m.Openers))
	for i := range places {
		places[i] = i
	}
	kept, rest := costliest(places, mostOpeners, func(at *int) uint64 {
		o := &m.Openers[*at]
		return o.LivePageBytes + o.LiveBufferBytes + uint64(max(o.Live, 0)) + uint64(max(o.Opened, 0))
	})
	numbers := make([]int, len(m.Openers)) // counted from 1
	list := make([]recording.Opener, 0, len(kept)+3)
	for _, at := range kept {
		list = append(list, m.Openers[at])
		numbers[at] = len(list)
	}
	sums := map[kernel.Role]int{}
	for _, at := range rest {
		from := &m.Openers[at]
		if sums[from.Role] == 0 {
			list = append(list, recording.Opener{Kind: recording.OpenerOther, Role: from.Role})
			sums[from.Role] = len(list)
		}
		numbers[at] = sums[from.Role]
		addOpener(&list[numbers[at]-1], from)
	}
	m.Openers, m.Groups = list, slices.Clone(m.Groups)
	for i := range m.Groups {
		if g := &m.Groups[i]; g.Opener > 0 && g.Opener <= len(numbers) {
			g.Opener = numbers[g.Opener-1]
		}
	}
}

func addOpener(into, from *recording.Opener) {
	into.Opened, into.Closed = into.Opened+from.Opened, into.Closed+from.Closed
	into.Failed, into.Live = into.Failed+from.Failed, into.Live+from.Live
	into.LiveObjectBytes, into.LivePageBytes = into.LiveObjectBytes+from.LiveObjectBytes, into.LivePageBytes+from.LivePageBytes
	into.LiveBufferBytes += from.LiveBufferBytes
	into.LiveRxBytes, into.LiveTxBytes = into.LiveRxBytes+from.LiveRxBytes, into.LiveTxBytes+from.LiveTxBytes
}

// foldFrames keeps the frames nearest to connect(): they matter.
func foldFrames(m *recording.Machine, o *recording.Opener) {
	bad := func(at int) bool { return at < 0 || at >= len(m.Locations) }
	if len(o.Locations) != len(o.Frames) && len(o.Frames) > 0 || slices.ContainsFunc(o.Locations, bad) {
		o.Locations = nil
	}
	o.Frames, o.Locations = innermost(o.Frames, mostFrames), innermost(o.Locations, mostFrames)
}

func innermost[T any](list []T, most int) []T { return list[max(len(list)-most, 0):] }

func framesBytes(o *recording.Opener) int {
	bytes := 0
	for _, frame := range o.Frames {
		bytes += frameBytes + min(len(frame), 4*mostName)
	}
	return bytes
}
