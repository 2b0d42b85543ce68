package measure

import "github.com/connprof/connprof/internal/kernel"

// Queues is what the ends of one role have in their queues, by a walk.
type Queues struct {
	Ends int // those that were judged
	// Short are those of them that do not have what is wanted.
	Short int
	// Unread is bytes of data that have arrived and that nobody has read, Unacked bytes that were written and that the other end has
	// not acknowledged, over all ends.
	Unread, Unacked uint64
	// Open is how many of the ends are listeners whose accept queue takes one more connection.
	Open int
}

// Queues walks the endpoints, and judges each by its role. It is for a trace at rest, and takes Config.Queues.
func (m *Measurement) Queues(has func(kernel.Role, *kernel.Endpoint) bool) (map[kernel.Role]Queues, error) {
	found := map[kernel.Role]Queues{}
	err := m.Walk(func(e *kernel.Endpoint) error {
		role := m.ledger.Role(e)
		q := found[role]
		q.Ends++
		if role == kernel.RoleListener && e.Live.AcceptQueue <= e.Live.AcceptMax {
			q.Open++
		}
		if !has(role, e) {
			q.Short++
		}
		q.Unread += uint64(e.UnreadData())
		q.Unacked += uint64(e.Live.Unacked)
		found[role] = q
		return nil
	})
	return found, err
}
