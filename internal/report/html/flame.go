package html

import (
	"fmt"
	"sort"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/report"
)

// maxNodes bounds the page: a node takes about 25 bytes, so the flame graph stays below half a megabyte however many
// paths were sampled. What is left out is narrower than any of what is kept and keeps its bytes in the sums.
const maxNodes = 12_000

// Kinds of node, as the page's script knows them; a leaf is kindLeaf plus the index of its category.
const (
	kindRoot = iota
	kindRole
	kindFrame
	kindLeaf
)

// node is a frame of the flame graph: all paths that share everything from the root to here.
type node struct {
	name  string
	kind  int
	cache string // of a leaf
	// width decides how wide the frame is: the page bytes, and in a difference the larger of old and new at each leaf,
	// so that what is gone can still be seen and frames are as wide as what is under them.
	width, bytes, old, count uint64
	kids                     []*node
	index                    map[nodeKey]*node
}

type nodeKey struct {
	name, cache string
	kind        int
}

// flameTree merges paths into a tree: all, role, frames from the root, object type.
func flameTree(paths []*report.Path) *node {
	root := &node{name: "all", kind: kindRoot}
	for _, p := range paths {
		root.add(p)
		n := root.kid(nodeKey{p.Role.String(), "", kindRole})
		n.add(p)
		for _, frame := range p.Frames {
			n = n.kid(nodeKey{format.Clean(frame), "", kindFrame})
			n.add(p)
		}
		n.kid(nodeKey{format.Clean(p.Type), format.Clean(p.Cache), kindLeaf + report.CategoryOf(p.Type)}).add(p)
	}
	root.sort()
	return root
}

func (n *node) add(p *report.Path) {
	n.bytes += p.Bytes
	n.old += p.OldBytes
	n.count += p.Count
	n.width += max(p.Bytes, p.OldBytes)
}

func (n *node) kid(key nodeKey) *node {
	if k := n.index[key]; k != nil {
		return k
	}
	if n.index == nil {
		n.index = map[nodeKey]*node{}
	}
	k := &node{name: key.name, kind: key.kind, cache: key.cache}
	n.index[key] = k
	n.kids = append(n.kids, k)
	return k
}

// sort puts roles in their usual order and elsewhere the widest first, where the eye begins.
func (n *node) sort() {
	sort.SliceStable(n.kids, func(i, j int) bool {
		a, b := n.kids[i], n.kids[j]
		switch {
		case a.kind == kindRole && b.kind == kindRole:
			return false // they were added in their order
		case a.width != b.width:
			return a.width > b.width
		case a.name != b.name:
			return a.name < b.name
		}
		return a.kind < b.kind || a.kind == b.kind && a.cache < b.cache
	})
	for _, k := range n.kids {
		k.sort()
	}
}

func (n *node) walk(visit func(*node, int), depth int) {
	visit(n, depth)
	for _, k := range n.kids {
		k.walk(visit, depth+1)
	}
}

// prune merges the narrowest nodes, those beyond the limit, into one frame under each parent.
func (n *node) prune(limit int) {
	var widths []uint64
	n.walk(func(k *node, _ int) { widths = append(widths, k.width) }, 0)
	if len(widths) <= limit {
		return
	}
	sort.Slice(widths, func(i, j int) bool { return widths[i] > widths[j] })
	n.merge(widths[limit])
}

// merge replaces the kids that are no wider than a width by one; it goes no deeper than those it keeps.
func (n *node) merge(width uint64) {
	var kept []*node
	rest := &node{kind: kindFrame}
	merged := 0
	for _, k := range n.kids {
		if k.kind != kindRole && k.width <= width {
			rest.width, rest.bytes = rest.width+k.width, rest.bytes+k.bytes
			rest.old, rest.count = rest.old+k.old, rest.count+k.count
			merged++
			continue
		}
		k.merge(width)
		kept = append(kept, k)
	}
	if merged > 0 {
		rest.name = fmt.Sprintf("[%s]", format.Plural(merged, "smaller path", "smaller paths"))
		kept = append(kept, rest)
	}
	n.kids = kept
}

// flameData is the tree as the page's script reads it: nodes in preorder, Stride numbers each, names by index.
type flameData struct {
	Names     []string       `json:"names"`
	Stride    int            `json:"stride"`
	Nodes     []uint64       `json:"nodes"` // name, depth, width, count, kind, cache; in a difference also bytes, old
	Endpoints map[string]int `json:"endpoints"`
	Diff      bool           `json:"diff"`
	// Categories name the kinds of leaves, from kindLeaf on.
	Categories []string `json:"categories"`
}

func newFlameData(paths []*report.Path, endpoints map[kernel.Role]int, diff bool) flameData {
	root := flameTree(paths)
	root.prune(maxNodes)
	data := flameData{Names: []string{""}, Stride: 6, Nodes: []uint64{}, Endpoints: map[string]int{}, Diff: diff}
	for _, c := range report.Categories {
		data.Categories = append(data.Categories, c.ID)
	}
	for role, n := range endpoints {
		data.Endpoints[role.String()] += n
	}
	index := map[string]uint64{"": 0}
	name := func(s string) uint64 {
		i, known := index[s]
		if !known {
			i = uint64(len(data.Names))
			index[s] = i
			data.Names = append(data.Names, s)
		}
		return i
	}
	if diff {
		data.Stride = 8
	}
	root.walk(func(n *node, depth int) {
		data.Nodes = append(data.Nodes, name(n.name), uint64(depth), n.width, n.count, uint64(n.kind), name(n.cache))
		if diff {
			data.Nodes = append(data.Nodes, n.bytes, n.old)
		}
	}, 0)
	return data
}
