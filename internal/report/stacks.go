package report

import (
	"sort"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// path is one allocation path with what it holds in a recording, and for a difference what it held in the older one.
type path struct {
	role               kernel.Role
	objectType, cache  string
	frames             []string // root first
	bytes, count       uint64
	oldBytes, oldCount uint64
}

// separator cannot occur in a kernel symbol, and if a forged recording has it, two paths become one and no sum changes.
const separator = "\x00"

func (p *path) key() string {
	return strings.Join(append([]string{p.role.String(), p.objectType, p.cache}, p.frames...), separator)
}

// pathsOf merges equal stacks and sorts them by role, path and type, so that each format comes out the same each time.
func pathsOf(r *recording.Recording) []*path {
	byKey := map[string]*path{}
	for _, s := range r.Stacks() {
		p := pathOf(s)
		into := byKey[p.key()]
		if into == nil {
			into = &path{role: p.role, objectType: p.objectType, cache: p.cache, frames: p.frames}
			byKey[p.key()] = into
		}
		into.bytes += p.bytes
		into.count += p.count
	}
	return sortedPaths(byKey)
}

func pathOf(s *recording.Stack) *path {
	return &path{role: s.Role, objectType: s.Type, cache: s.Cache, frames: s.Frames, bytes: s.Bytes,
		count: uint64(max(s.Count, 0))}
}

func sortedPaths(byKey map[string]*path) []*path {
	keys := make([]string, 0, len(byKey))
	for key := range byKey {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	paths := make([]*path, len(keys))
	for i, key := range keys {
		paths[i] = byKey[key]
	}
	sort.SliceStable(paths, func(i, j int) bool { return roleLess(paths[i].role, paths[j].role) })
	return paths
}

// diffPaths lays the paths of two recordings over each other. Where a role has another number of endpoints in the older
// recording, its figures are scaled to the newer one's number: the columns then differ by what an endpoint costs, not by
// how many there were.
func diffPaths(older, newer *recording.Recording) []*path {
	was, is := older.Counts(), newer.Counts()
	byKey := map[string]*path{}
	for _, p := range pathsOf(newer) {
		byKey[p.key()] = p
	}
	for _, p := range pathsOf(older) {
		into := byKey[p.key()]
		if into == nil {
			into = &path{role: p.role, objectType: p.objectType, cache: p.cache, frames: p.frames}
			byKey[p.key()] = into
		}
		into.oldBytes = scale(p.bytes, is[p.role], was[p.role])
		into.oldCount = scale(p.count, is[p.role], was[p.role])
	}
	return sortedPaths(byKey)
}
