package account

import (
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Batch is the beginning of a run, held at rest: the connections whose every allocation was traced. What the trace
// counted is compared with what a walk found at that moment; the rest of the run is too dear to be traced so closely.
type Batch struct {
	Connections int
	Sites       []kernel.Site // counted by then
	ServerOpens int           // endpoints that a handshake had brought to ESTABLISHED by then
	Destroyed   int           // endpoints that were gone again by then
	endpoints   []kernel.Endpoint
}

// NewBatch makes a batch with room for both ends of the given number of connections. The room is touched at once: later, the
// load would wait while the kernel gives it page by page.
func NewBatch(connections int) *Batch {
	const listeners = 64 // more take more room when they are met
	b := &Batch{endpoints: make([]kernel.Endpoint, 2*connections+listeners)}
	clear(b.endpoints)
	b.endpoints = b.endpoints[:0]
	return b
}

// Visit keeps a walked endpoint. The account of the batch is made later, when the load no longer waits for it.
func (b *Batch) Visit(e *kernel.Endpoint) error {
	b.endpoints = append(b.endpoints, *e)
	return nil
}

// ledger enters the batch's endpoints into a ledger of their own.
func (b *Batch) ledger(caches *Caches) *Ledger {
	l := NewLedger(0)
	for i := range b.endpoints {
		l.Visit(&b.endpoints[i], caches)
	}
	return l
}

// EndpointBytes is what a connecting and an accepted end of the batch occupy in slab pages, on average.
func (b *Batch) EndpointBytes(caches *Caches) (client, server uint64) {
	sums := map[kernel.Role]uint64{}
	for _, row := range endpointRows(b.ledger(caches).walk.whole.rows(caches)) {
		sums[row.Role] += row.PageBytes
	}
	n := uint64(max(b.Connections, 1))
	return sums[kernel.RoleClient] / n, sums[kernel.RoleServer] / n
}

// types compares the batch's allocations with the batch's objects. Where endpoints are gone, what was allocated is no longer what
// there is.
func (b *Batch) types(ev Evidence) []recording.TypeRow {
	if b.Destroyed > 0 {
		return []recording.TypeRow{}
	}
	l := b.ledger(ev.Caches)
	return l.typeRows(endpointRows(l.walk.whole.rows(ev.Caches)), Evidence{Caches: ev.Caches, Sites: b.Sites, Symbols: ev.Symbols,
		ServerOpens: b.ServerOpens, OtherServes: ev.OtherServes})
}
