// Package account turns what the kernel reported into the account of a run: the ledger takes events and walked
// endpoints in, the recording comes out. It is pure Go over the plain types of package kernel, knows no BPF, and
// never imports loader; report reads the recordings that it writes.
package account

import (
	"cmp"
	"slices"

	"github.com/connprof/connprof/kernel"
)

// opened is what the trace knows of an endpoint that is still alive.
type opened struct {
	nanoseconds uint64
	pid         uint32
	role        kernel.Role
}

// Ledger gathers the facts of one run. Its methods are not safe for concurrent use: first the events come in from
// one goroutine, then, with the trace at rest, the walk.
type Ledger struct {
	opened  map[uint64]opened // by address of the struct sock
	closed  map[kernel.Role]int
	samples samples
	walk    walked
}

// NewLedger makes an empty ledger with room for the given number of endpoints.
func NewLedger(endpoints int) *Ledger {
	return &Ledger{opened: make(map[uint64]opened, endpoints), closed: map[kernel.Role]int{}, samples: samples{},
		walk: newWalked()}
}

// Opened enters an endpoint that was opened by connect() or by a handshake on the listening side.
func (l *Ledger) Opened(e kernel.EndpointEvent) {
	l.opened[e.Sock] = opened{nanoseconds: e.Nanoseconds, pid: e.PID, role: e.Role}
}

// Accepted enters the process that an endpoint was handed to.
func (l *Ledger) Accepted(e kernel.EndpointEvent) {
	o, ok := l.opened[e.Sock]
	if !ok {
		o = opened{nanoseconds: e.Nanoseconds}
	}
	o.pid, o.role = e.PID, kernel.RoleServer
	l.opened[e.Sock] = o
}

// Closed strikes an endpoint out. Listeners and endpoints from before the trace are not in the ledger.
func (l *Ledger) Closed(e kernel.EndpointEvent) {
	if o, ok := l.opened[e.Sock]; ok {
		l.closed[o.role]++
		delete(l.opened, e.Sock)
	}
}

// Sampled enters a sampled allocation.
func (l *Ledger) Sampled(s kernel.StackSample) { l.samples.add(s) }

// Closes is how many endpoints the trace saw opened and destroyed.
func (l *Ledger) Closes() int {
	n := 0
	for _, c := range l.closed {
		n += c
	}
	return n
}

// sortedKeys lists a map's keys in order, so that a recording does not depend on the map's.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
