package experiment

import (
	"time"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/load"
)

// batchConnections are the first connections of a run, whose every allocation is traced. Then the load rests for a
// moment, a walk finds what the allocations have become, and the slab hook is taken off.
const batchConnections = 5_000

func (r *runner) batchSize() int { return min(r.conns, batchConnections) }

// samplesWanted is how many stacks the batch samples: enough for a stable graph, too few to cost anything.
const samplesWanted = 2_500

// slabAllocsPerConnection is about how many slab allocations both ends of a connection make.
const slabAllocsPerConnection = 30

// minInterval keeps small runs from spending their time on stacks.
const minInterval = 32

// sampleInterval is the mean number of allocations from one sampled stack to the next.
func sampleInterval(conns int) int {
	return max(minInterval, conns*slabAllocsPerConnection/samplesWanted)
}

// batchTick is how often the batch is looked at: its connections come up within a tenth of a second.
const batchTick = 500 * time.Microsecond

// batchWatch waits for the batch to be up and at rest.
type batchWatch struct {
	r      *runner
	ticker *time.Ticker
	C      <-chan time.Time // nil when no batch is waited for
	last   load.Progress
}

// beginBatch has the load stop after the batch. Without probes there is none.
func (r *runner) beginBatch() *batchWatch {
	w := &batchWatch{r: r}
	if r.probes == nil {
		return w
	}
	r.engine.Limit(r.batchSize())
	w.ticker = time.NewTicker(batchTick)
	w.C = w.ticker.C
	return w
}

// look takes the batch when two looks in a row have found all its connections up.
func (w *batchWatch) look() error {
	last := w.last
	w.last = w.r.engine.Progress()
	p := w.last
	if p != last || p.Attempted < w.r.batchSize() || p.Established+p.Failed < p.Attempted || p.Accepted < p.Established {
		return nil
	}
	w.stop()
	return w.r.takeBatch(p)
}

func (w *batchWatch) stop() {
	if w.ticker != nil {
		w.ticker.Stop()
		w.C = nil
	}
}

// takeBatch reads what the trace has counted and walks what there is, lets the load go on, and takes the slab hook off.
func (r *runner) takeBatch(p load.Progress) error {
	b := &account.Batch{Connections: p.Up()}
	if err := r.readBatch(b); err != nil {
		return err
	}
	if err := r.far.rest(r, b.Connections); err != nil {
		return err
	}
	r.engine.Limit(r.conns)
	if err := r.probes.LeaveAllocations(); err != nil {
		return err
	}
	var err error
	if r.sitesAt1, _, err = r.probes.Sites(); err != nil {
		return err
	}
	r.batch = b
	return r.replan()
}

func (r *runner) readBatch(b *account.Batch) error {
	sites, _, err := r.probes.Sites()
	if err != nil {
		return err
	}
	b.Sites = since(r.sitesAt0, sites)
	counters, err := r.probes.Counters()
	if err != nil {
		return err
	}
	b.ServerOpens = int(counters.ServerEstablished)
	return r.walkOwn(b.Visit)
}
