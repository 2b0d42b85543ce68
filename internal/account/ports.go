package account

import (
	"cmp"
	"maps"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

const exampleTuples = 20

// portCounts counts the connecting ends of each local port of a network namespace, and keeps those of the lowest. Few
// namespaces use many ports: the counts come in pages.
type portCounts struct {
	counts  [256]*[256]uint32
	example uint16
	tuples  []kernel.Endpoint
}

func (p *portCounts) add(e *kernel.Endpoint) {
	port := e.Local.Port()
	counts := p.counts[port>>8]
	if counts == nil {
		counts = new([256]uint32)
		p.counts[port>>8] = counts
	}
	counts[port&0xff]++
	if len(p.tuples) == 0 || port < p.example {
		p.example, p.tuples = port, p.tuples[:0]
	}
	if port == p.example {
		p.tuples = append(p.tuples, *e)
	}
}

// clientPorts sums up all network namespaces. It is nil without any connecting end.
func (w *walked) clientPorts() *recording.ClientPorts {
	c := &recording.ClientPorts{}
	var first *portCounts
	for _, netns := range slices.Sorted(maps.Keys(w.spaces)) {
		p := &w.spaces[netns].ports
		if len(p.tuples) == 0 {
			continue
		}
		used, most := p.sum()
		c.Used += used
		c.Most = max(c.Most, most)
		if first == nil || p.example < first.example {
			first = p
			c.Netns = netns
		}
	}
	if first == nil {
		return nil
	}
	if !w.several() {
		c.Netns = 0
	}
	c.Example, c.Connections = int(first.example), first.connections()
	return c
}

// sum is how many ports are used, and how many connections the most used one has.
func (p *portCounts) sum() (used, most int) {
	for _, counts := range p.counts {
		if counts == nil {
			continue
		}
		for _, n := range counts {
			used += int(min(n, 1))
			most = max(most, int(n))
		}
	}
	return used, most
}

// connections is those of the lowest port.
func (p *portCounts) connections() []recording.FourTuple {
	slices.SortFunc(p.tuples, func(a, b kernel.Endpoint) int {
		return cmp.Or(a.Local.Compare(b.Local), a.Remote.Compare(b.Remote))
	})
	list := []recording.FourTuple{}
	for _, t := range p.tuples[:min(len(p.tuples), exampleTuples)] {
		list = append(list, recording.FourTuple{Local: t.Local.String(), Remote: t.Remote.String()})
	}
	return list
}
