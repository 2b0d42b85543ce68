package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// The bounds of what a report shows of one machine: beyond what Linux has of it, and small enough for every reader.
const (
	mostRows    = 100  // roles and states
	mostTypes   = 64   // object types of a row, or of an endpoint
	mostGroups  = 2000 // as many as a recording lists one by one
	mostPaths   = 20_000
	mostFrames  = 512      // of a path
	mostPathsIn = 32 << 20 // bytes of all paths, a frame being its name and what a format keeps for it
	frameBytes  = 32
)

// others is the name of what is folded, and otherFrames that of a frame that stands for it.
const (
	others      = "others"
	otherFrames = "[others]"
)

// fold is a machine of which no list is beyond the bounds. The costliest of each stay, and the sums stay what they are. It says
// what was folded.
func fold(from *recording.Machine) (m *recording.Machine, said []string) {
	folded := *from
	m = &folded
	m.Endpoints = foldRows(from.Endpoints)
	m.Groups = foldGroups(from.Groups)
	stacks, shown := foldStacks(from.Stacks)
	m.Stacks, m.Top = stacks, foldTop(from.Top)
	foldOpeners(m)
	for _, list := range []struct {
		what       string
		shown, all int
	}{{"rows of endpoints", min(mostRows, len(from.Endpoints)), len(from.Endpoints)},
		{"groups", min(mostGroups, len(from.Groups)), len(from.Groups)}, {"call paths", shown, len(from.Stacks)},
		{"openers", min(mostOpeners, len(from.Openers)), len(from.Openers)}} {
		if list.shown < list.all {
			said = append(said, fmt.Sprintf("this report shows %s of %s %s and folds the rest into %q", format.Count(list.shown),
				format.Count(list.all), list.what, others))
		}
	}
	return m, said
}

// costliest divides a list into those that cost most, in the list's order, and the rest.
func costliest[T any](list []T, most int, cost func(*T) uint64) (kept, rest []T) {
	if len(list) <= most {
		return list, nil
	}
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(cost(&list[b]), cost(&list[a])) })
	slices.Sort(order[:most])
	for _, i := range order[:most] {
		kept = append(kept, list[i])
	}
	for _, i := range order[most:] {
		rest = append(rest, list[i])
	}
	return kept, rest
}

// merged adds up what has the same key, in the order in which the keys come.
func merged[T any, K comparable](list []T, key func(*T) K, blank func(K) T, add func(into, from *T)) []T {
	var sums []T
	at := map[K]int{}
	for i := range list {
		k := key(&list[i])
		n, known := at[k]
		if !known {
			n = len(sums)
			at[k], sums = n, append(sums, blank(k))
		}
		add(&sums[n], &list[i])
	}
	return sums
}

func foldRows(list []recording.EndpointRow) []recording.EndpointRow {
	kept, rest := costliest(list, mostRows, func(r *recording.EndpointRow) uint64 { return r.PageBytes })
	rows := slices.Concat(kept, merged(rest, func(r *recording.EndpointRow) kernel.Role { return r.Role },
		func(role kernel.Role) recording.EndpointRow { return recording.EndpointRow{Role: role, State: others} },
		func(into, from *recording.EndpointRow) {
			into.Count += from.Count
			into.ObjectBytes, into.PageBytes = into.ObjectBytes+from.ObjectBytes, into.PageBytes+from.PageBytes
			into.BufferBytes += from.BufferBytes
			into.Objects = append(into.Objects, from.Objects...)
		}))
	for i := range rows {
		if i >= len(kept) {
			rows[i].Objects = merged(rows[i].Objects, func(o *recording.ObjectRow) [2]string { return [2]string{o.Type, o.Cache} },
				func(k [2]string) recording.ObjectRow { return recording.ObjectRow{Type: k[0], Cache: k[1]} }, addObjects)
		}
		rows[i].Objects = foldObjects(rows[i].Objects)
	}
	return rows
}

func foldObjects(list []recording.ObjectRow) []recording.ObjectRow {
	kept, rest := costliest(list, mostTypes, func(o *recording.ObjectRow) uint64 { return o.PageBytes })
	return slices.Concat(kept, merged(rest, func(*recording.ObjectRow) string { return others },
		func(name string) recording.ObjectRow { return recording.ObjectRow{Type: name} }, addObjects))
}

func addObjects(into, from *recording.ObjectRow) {
	into.Count += from.Count
	into.ObjectBytes, into.PageBytes = into.ObjectBytes+from.ObjectBytes, into.PageBytes+from.PageBytes
}

func foldGroups(list []recording.Group) []recording.Group {
	kept, rest := costliest(list, mostGroups, func(g *recording.Group) uint64 { return g.PageBytes + g.BufferBytes })
	return slices.Concat(kept, merged(rest, func(g *recording.Group) kernel.Role { return g.Role },
		func(role kernel.Role) recording.Group {
			return recording.Group{Owner: recording.OwnerOther, Role: role, State: others}
		},
		func(into, from *recording.Group) {
			into.Count += from.Count
			into.ObjectBytes, into.PageBytes = into.ObjectBytes+from.ObjectBytes, into.PageBytes+from.PageBytes
			into.BufferBytes, into.RxBytes, into.TxBytes = into.BufferBytes+from.BufferBytes, into.RxBytes+from.RxBytes, into.TxBytes+from.TxBytes
			into.PageCacheBytes += from.PageCacheBytes
			into.UnreadSockets, into.UnreadBytes = into.UnreadSockets+from.UnreadSockets, into.UnreadBytes+from.UnreadBytes
			into.UnackedSockets, into.UnackedBytes = into.UnackedSockets+from.UnackedSockets, into.UnackedBytes+from.UnackedBytes
		}))
}

// foldTop keeps as many endpoints as a recording has, and of each the types that it has most of.
func foldTop(list []recording.TopEndpoint) []recording.TopEndpoint {
	kept, _ := costliest(list, recording.TopLength, func(e *recording.TopEndpoint) uint64 { return e.PageBytes + e.BufferBytes })
	kept = slices.Clone(kept)
	for i := range kept {
		kept[i].Objects = foldTypes(kept[i].Objects)
	}
	return kept
}

func foldTypes(types map[string]int) map[string]int {
	if len(types) <= mostTypes {
		return types
	}
	names := slices.SortedFunc(maps.Keys(types), func(a, b string) int { return cmp.Or(cmp.Compare(types[b], types[a]), cmp.Compare(a, b)) })
	shown := map[string]int{}
	for i, name := range names {
		if i >= mostTypes {
			name = others
		}
		shown[name] += types[names[i]]
	}
	return shown
}

// pathKey is what a folded call path still has.
type pathKey struct {
	role            kernel.Role
	kind, slabCache string
}

// foldStacks keeps the call paths with the most bytes as long as there is room for their frames. It returns how many of the
// list it has kept.
func foldStacks(list []recording.Stack) (stacks []recording.Stack, shown int) {
	kept, rest := costliest(list, mostPaths, func(s *recording.Stack) uint64 { return s.Bytes })
	kept, more := within(kept, mostPathsIn)
	rest = append(slices.Clone(more), rest...)
	keys := map[pathKey]bool{}
	folded := merged(rest, func(s *recording.Stack) pathKey {
		key := pathKey{s.Role, s.Type, s.Cache}
		if !keys[key] && len(keys) >= mostTypes {
			return pathKey{s.Role, others, ""}
		}
		keys[key] = true
		return key
	}, func(k pathKey) recording.Stack {
		return recording.Stack{Role: k.role, Type: k.kind, Cache: k.slabCache, Frames: []string{otherFrames}}
	}, func(into, from *recording.Stack) {
		into.Count, into.Bytes, into.Samples = into.Count+from.Count, into.Bytes+from.Bytes, into.Samples+from.Samples
	})
	return slices.Concat(kept, folded), len(kept)
}

// within divides call paths into those that fit into so many bytes, the costliest first, and the rest. Paths that are too
// deep lose their innermost frames.
func within(list []recording.Stack, bytes int) (kept, rest []recording.Stack) {
	cut := slices.Clone(list)
	total := 0
	for i := range cut {
		cut[i].Frames = outermost(cut[i].Frames)
		total += pathBytes(&cut[i])
	}
	if total <= bytes {
		return cut, nil
	}
	slices.SortStableFunc(cut, func(a, b recording.Stack) int { return cmp.Compare(b.Bytes, a.Bytes) })
	n := 0
	for room := bytes; n < len(cut) && pathBytes(&cut[n]) <= room; n++ {
		room -= pathBytes(&cut[n])
	}
	return cut[:n], cut[n:]
}

func outermost(frames []string) []string {
	if len(frames) <= mostFrames {
		return frames
	}
	return append(slices.Clone(frames[:mostFrames-1]), otherFrames)
}

func pathBytes(s *recording.Stack) int {
	bytes := frameBytes + len(s.Type) + len(s.Cache)
	for _, frame := range s.Frames {
		bytes += frameBytes + min(len(frame), 4*mostName)
	}
	return bytes
}
