package html

import (
	"fmt"
	"slices"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/report"
)

// maxPeers is how many peers of an opener a page names.
const maxPeers = 8

// measures are what the frames of a flame graph of code can be as wide as.
const measures = 4 // bytes, sockets still open, opened, failed

// codeData is the tree of code as the page's script reads it: names by index.
type codeData struct {
	Names []string `json:"names"`
	// Nodes are in preorder, each with label, depth, process, place (file:line) and whole name.
	Nodes [][5]int `json:"nodes"`
	// Ends are the openers whose code ends at a node: node, opener.
	Ends       [][2]int     `json:"ends"`
	Openers    []codeOpener `json:"openers"`
	Categories []string     `json:"categories"`
}

// codeOpener is what a click on a frame shows.
type codeOpener struct {
	Who      string     `json:"who"`
	Path     string     `json:"path"`
	Values   [5]int64   `json:"values"` // bytes, still open, opened, failed; closed
	Lifetime []string   `json:"lifetime,omitempty"`
	Idle     string     `json:"idle,omitempty"`
	Stack    string     `json:"stack,omitempty"`
	States   [][2]int64 `json:"states"`  // name, count
	Peers    [][2]int64 `json:"peers"`   // name, count
	Errors   [][2]int64 `json:"errors"`  // name, count
	Objects  [][4]int64 `json:"objects"` // type, cache, category, bytes
}

// codeNode is a frame of the tree: all openers that share everything from the root to here.
type codeNode struct {
	label, name, place string
	process            int
	values             [measures]float64
	weight             float64 // the largest of its shares
	kids               []*codeNode
	index              map[string]*codeNode
	ends               []int
}

func (n *codeNode) kid(label, name, place string, process int) *codeNode {
	key := name + "\x00" + place
	if k := n.index[key]; k != nil {
		return k
	}
	if n.index == nil {
		n.index = map[string]*codeNode{}
	}
	k := &codeNode{label: label, name: name, place: place, process: process}
	n.index[key] = k
	n.kids = append(n.kids, k)
	return k
}

func valuesOf(o *report.CodeOpener) [measures]float64 {
	return [measures]float64{o.All(), float64(o.Live), float64(o.Opened), float64(o.Failed)}
}

func codeTree(c *report.Code) *codeNode {
	root := &codeNode{label: "all", name: "all", process: -1}
	for i := range c.Openers {
		o := &c.Openers[i]
		n, values := root, valuesOf(o)
		way := []*codeNode{root}
		for k, name := range o.Way {
			n = n.kid(o.Labels[k], name, o.Places[k], o.Process)
			way = append(way, n)
		}
		n.ends = append(n.ends, i)
		for _, n := range way {
			for m, v := range values {
				n.values[m] += v
			}
		}
	}
	return root
}

func (n *codeNode) walk(visit func(*codeNode, int), depth int) {
	visit(n, depth)
	for _, k := range n.kids {
		k.walk(visit, depth+1)
	}
}

// prune merges the narrowest nodes, by the measure in which each is widest, into one under each parent. It is called for the root.
func (n *codeNode) prune(limit int) {
	var weights []float64
	n.walk(func(k *codeNode, _ int) {
		for m, v := range k.values {
			k.weight = max(k.weight, format.Ratio(v, n.values[m]))
		}
		weights = append(weights, k.weight)
	}, 0)
	if len(weights) > limit {
		slices.Sort(weights)
		for _, process := range n.kids { // none of them is merged
			process.merge(weights[len(weights)-1-limit])
		}
	}
}

func (n *codeNode) merge(weight float64) {
	var kept []*codeNode
	rest := &codeNode{process: n.process}
	merged := 0
	for _, k := range n.kids {
		if k.weight > weight {
			k.merge(weight)
			kept = append(kept, k)
			continue
		}
		k.walk(func(under *codeNode, _ int) { rest.ends = append(rest.ends, under.ends...) }, 0)
		merged++
	}
	if merged > 0 {
		rest.label = fmt.Sprintf("[%s]", format.Plural(merged, "smaller path", "smaller paths"))
		kept = append(kept, rest)
	}
	n.kids = kept
}

func newCodeData(c *report.Code) *codeData {
	d := &codeData{Names: []string{""}, Nodes: [][5]int{}, Ends: [][2]int{}, Openers: []codeOpener{}}
	for _, category := range report.Categories {
		d.Categories = append(d.Categories, category.ID)
	}
	index := map[string]int{"": 0}
	name := func(s string) int {
		i, known := index[s]
		if !known {
			i = len(d.Names)
			index[s] = i
			d.Names = append(d.Names, s)
		}
		return i
	}
	root := codeTree(c)
	root.prune(maxNodes)
	root.walk(func(n *codeNode, depth int) {
		for _, end := range n.ends {
			d.Ends = append(d.Ends, [2]int{len(d.Nodes), end})
		}
		d.Nodes = append(d.Nodes, [5]int{name(n.label), depth, n.process, name(n.place), name(n.name)})
	}, 0)
	for i := range c.Openers {
		d.Openers = append(d.Openers, newCodeOpener(&c.Openers[i], func(s string) int64 { return int64(name(s)) }))
	}
	return d
}

func newCodeOpener(o *report.CodeOpener, name func(string) int64) codeOpener {
	c := codeOpener{Who: o.Who, Path: o.Path(), Values: [5]int64{exact(o.Slab + min(o.Buffers, 1<<53)), whole(o.Live), whole(o.Opened), whole(o.Failed),
		whole(o.Closed)}, Stack: o.Why, States: [][2]int64{}, Peers: [][2]int64{}, Errors: [][2]int64{}, Objects: [][4]int64{}}
	if l := o.Lifetime; l != nil {
		c.Lifetime = []string{report.Lived(l.P50), report.Lived(l.P90), report.Lived(l.P99)}
	}
	if o.Idle != nil {
		c.Idle = "p50 " + format.Span(o.Idle.P50) + ", longest " + format.Span(o.Idle.Max)
	}
	for _, s := range o.StateCounts() {
		c.States = append(c.States, [2]int64{name(s.State), whole(s.Count)})
	}
	for _, p := range o.Peers()[:min(len(o.Peers()), maxPeers)] {
		c.Peers = append(c.Peers, [2]int64{name(format.Clean(p.Peer)), whole(p.Count)})
	}
	for _, e := range o.ErrorCounts() {
		c.Errors = append(c.Errors, [2]int64{name(format.Clean(e.Error)), whole(e.Count)})
	}
	for _, p := range o.Parts {
		c.Objects = append(c.Objects, [4]int64{name(p.Type), name(p.Cache), int64(p.Category), exact(p.Bytes)})
	}
	return c
}

// whole keeps a count to the whole numbers that a script can hold.
func whole(n int) int64 { return exact(uint64(max(n, 0))) }
