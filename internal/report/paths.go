package report

import (
	"math"
	"math/big"
	"sort"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Path is one allocation path with what it holds in a recording, and for a difference what it held in the older one. Of a look at
// a host it is an owner's objects: Frames are owner and state, Count is sockets. Of a record it is what is still open: Frames are the
// process, its code and the call.
type Path struct {
	// Of is nil for a call path.
	Of                 *Held
	Role               kernel.Role
	Type, Cache        string
	Frames             []string // root first
	Bytes, Count       uint64
	OldBytes, OldCount uint64
}

// separator cannot occur in a kernel symbol, and if a forged recording has it, two paths become one and no sum changes.
const separator = "\x00"

func (p *Path) key() string {
	parts := append([]string{p.Role.String(), p.Type, p.Cache}, p.Frames...)
	if p.Of != nil {
		parts = append(parts, p.Of.Container, p.Of.Cgroup, p.Of.Netns, p.Of.Listener, p.Of.Service)
	}
	return strings.Join(parts, separator)
}

// Stack is all names of a path, root first: role, frames and object, or owner, state and object.
func (p *Path) Stack() []string {
	names := make([]string, 0, len(p.Frames)+2)
	if p.Of == nil {
		names = append(names, p.Role.String())
	}
	return append(append(names, p.Frames...), p.Type)
}

// pathsOf are the call paths, and what owners hold where a look has none.
func pathsOf(r *recording.Recording) []*Path {
	if m := recordIn(r); m != nil && len(m.Openers) > 0 {
		return codePaths(m)
	}
	if m := lookIn(r); m != nil && len(r.Stacks()) == 0 {
		return heldPaths(m)
	}
	return callPaths(r)
}

// callPaths merges equal stacks and sorts them by role, path and type, so that each format comes out the same each time.
func callPaths(r *recording.Recording) []*Path {
	byKey := map[string]*Path{}
	for _, s := range r.Stacks() {
		p := pathOf(s)
		into := byKey[p.key()]
		if into == nil {
			into = &Path{Role: p.Role, Type: p.Type, Cache: p.Cache, Frames: p.Frames}
			byKey[p.key()] = into
		}
		into.Bytes += p.Bytes
		into.Count += p.Count
	}
	return sortedPaths(byKey)
}

func pathOf(s *recording.Stack) *Path {
	return &Path{Role: s.Role, Type: s.Type, Cache: s.Cache, Frames: s.Frames, Bytes: s.Bytes,
		Count: uint64(max(s.Count, 0))}
}

func sortedPaths(byKey map[string]*Path) []*Path {
	keys := make([]string, 0, len(byKey))
	for key := range byKey {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	paths := make([]*Path, len(keys))
	for i, key := range keys {
		paths[i] = byKey[key]
	}
	sort.SliceStable(paths, func(i, j int) bool { return roleLess(paths[i].Role, paths[j].Role) })
	return paths
}

// diffPaths lays the paths of two recordings over each other. Where a role has another number of endpoints in the older
// recording, its figures are scaled to the newer one's number: the columns then differ by what an endpoint costs, not by
// how many there were.
//
// Of two looks at a host the columns are what there was and what there is. A run and a look have no path in common: both are then
// left out but for call paths.
func diffPaths(older, newer *recording.Recording) []*Path {
	was, is, of := older.Counts(), newer.Counts(), pathsOf
	switch a, b := lookIn(older), lookIn(newer); {
	case a != nil && b != nil && (recordIn(older) == nil) != (recordIn(newer) == nil):
		// A snapshot has no code: the two are compared by owner.
		was, is, of = nil, nil, func(r *recording.Recording) []*Path { return heldPaths(lookIn(r)) }
	case a != nil && b != nil:
		was, is = nil, nil // nothing is scaled
	case a != nil || b != nil:
		of = callPaths
	}
	byKey := map[string]*Path{}
	for _, p := range of(newer) {
		byKey[p.key()] = p
	}
	for _, p := range of(older) {
		into := byKey[p.key()]
		if into == nil {
			into = &Path{Of: p.Of, Role: p.Role, Type: p.Type, Cache: p.Cache, Frames: p.Frames}
			byKey[p.key()] = into
		}
		into.OldBytes = scale(p.Bytes, is[p.Role], was[p.Role])
		into.OldCount = scale(p.Count, is[p.Role], was[p.Role])
	}
	return sortedPaths(byKey)
}

// scale is b × num/den, rounded, for bringing two runs of different size onto one scale.
func scale(b uint64, num, den int) uint64 {
	if num <= 0 || den <= 0 || num == den {
		return b
	}
	product := new(big.Int).Mul(new(big.Int).SetUint64(b), big.NewInt(int64(num)))
	product.Add(product, big.NewInt(int64(den)/2))
	product.Div(product, big.NewInt(int64(den)))
	if !product.IsUint64() {
		return math.MaxUint64
	}
	return product.Uint64()
}
