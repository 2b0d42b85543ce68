package account

import (
	"cmp"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

const exampleTuples = 20

// portCounts counts the connecting ends of each local port, and keeps those of the lowest.
type portCounts struct {
	counts  *[1 << 16]uint32
	example uint16
	tuples  []kernel.Endpoint
}

func (p *portCounts) add(e *kernel.Endpoint) {
	port := e.Local.Port()
	if p.counts == nil {
		p.counts = new([1 << 16]uint32)
	}
	p.counts[port]++
	if len(p.tuples) == 0 || port < p.example {
		p.example, p.tuples = port, p.tuples[:0]
	}
	if port == p.example {
		p.tuples = append(p.tuples, *e)
	}
}

// summary is nil without any connecting end.
func (p *portCounts) summary() *recording.ClientPorts {
	if p.counts == nil {
		return nil
	}
	c := &recording.ClientPorts{Example: int(p.example), Connections: []recording.FourTuple{}}
	for _, n := range p.counts {
		if n > 0 {
			c.Used++
		}
		c.Most = max(c.Most, int(n))
	}
	slices.SortFunc(p.tuples, func(a, b kernel.Endpoint) int {
		return cmp.Or(a.Local.Compare(b.Local), a.Remote.Compare(b.Remote))
	})
	for _, t := range p.tuples[:min(len(p.tuples), exampleTuples)] {
		c.Connections = append(c.Connections, recording.FourTuple{Local: t.Local.String(), Remote: t.Remote.String()})
	}
	return c
}
