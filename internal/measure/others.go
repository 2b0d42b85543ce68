package measure

import (
	"fmt"
	"maps"
	"slices"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/loader"
)

// others counts the host's endpoints that are not measured, with a walk of its own, at the moments at which slab memory is read.
// On a nil one nothing is done.
type others struct {
	measured func(*kernel.Endpoint) bool
	probes   *loader.Probes
	err      error
	moments  []*account.Others
	missed   int // namespaces that could not be walked
}

// countOthers loads the walk. The measurement's own probes had better not be on by then: what loading allocates would run through
// the slab hook of every measurement on this host.
func countOthers(m *Measurement) *others {
	var inodes []uint32
	for _, n := range m.config.Networks {
		inodes = append(inodes, n.Inode())
	}
	o := &others{measured: func(e *kernel.Endpoint) bool {
		return slices.Contains(inodes, e.Netns) && (m.config.Owns == nil || m.config.Owns(e))
	}}
	o.probes, o.err = loader.Load(loader.Config{Hooks: loader.WalkOnly, Live: true, AtOnce: true})
	return o
}

// take counts them now. What goes wrong is told in the end: the account stands without it.
func (o *others) take() {
	if o == nil || o.err != nil {
		return
	}
	sum := account.NewOthers()
	coverage, err := o.probes.WalkAll(func(e *kernel.Endpoint) error {
		if !o.measured(e) {
			sum.Visit(e)
		}
		return nil
	})
	o.moments, o.err, o.missed = append(o.moments, sum), err, max(o.missed, len(coverage.Missed))
}

// addCaches adds the slab caches that the walks have met.
func (o *others) addCaches(caches map[uint64]kernel.CacheInfo) {
	if o == nil || o.err != nil {
		return
	}
	met, err := o.probes.Caches()
	if o.err = err; err == nil {
		maps.Copy(caches, met)
	}
}

// taken are the counts of both moments, nil where they are not to be had, which a note then says.
func (o *others) taken(out *recording.Machine) (before, after *account.Others) {
	switch {
	case o == nil:
		return nil, nil
	case o.err != nil:
		out.Notes = append(out.Notes, fmt.Sprintf("other connections of this host were not counted, and what slab memory grew by them is "+
			"unexplained: %v", o.err))
		return nil, nil
	case o.missed > 0:
		out.Notes = append(out.Notes, fmt.Sprintf("other connections in %d network namespaces were not counted", o.missed))
	}
	return o.moments[0], o.moments[1]
}

func (o *others) close() {
	if o != nil && o.probes != nil {
		_ = o.probes.Close()
	}
}
