// Package account turns what the kernel reported into the account of a run: the ledger takes events and walked
// endpoints in, the recording comes out. It is pure Go over the plain types of package kernel, knows no BPF, and
// never imports loader; report reads the recordings that it writes.
package account

import (
	"slices"
	"sync/atomic"

	"github.com/connprof/connprof/internal/kernel"
)

// opened is what the trace knows of an endpoint that is still alive.
type opened struct {
	nanoseconds uint64
	pid         uint32
	role        kernel.Role
	before      bool // opened before the trace, which heard of it when it was accepted
}

// step is an entry of the ledger's log: one step in an endpoint's life.
type step struct {
	kernel.EndpointEvent
	kind stepKind
}

type stepKind uint8

const (
	stepOpened stepKind = iota
	stepAccepted
	stepClosed
	stepFailed
)

// Ledger gathers the facts of one run. Its methods are not safe for concurrent use: first the events come in from
// one goroutine, then, with the trace at rest, the walk.
type Ledger struct {
	// log holds the steps that are not yet in opened and closed. While connections are opened, time is dear, and
	// writing a step down costs a tenth of looking its endpoint up.
	log     []step
	opened  map[uint64]opened // by address of the struct sock
	closed  map[kernel.Role]int
	samples samples
	// arranging is set once the connections are being brought into their scenario.
	arranging atomic.Bool
	walk      walked
}

// maxLog bounds the log: a run that opens and closes without end is posted now and then.
const maxLog = 4 << 20

// NewLedger makes an empty ledger with room for the given number of endpoints.
func NewLedger(endpoints int) *Ledger {
	return &Ledger{log: make([]step, 0, min(endpoints+endpoints/8, maxLog)), opened: map[uint64]opened{},
		closed: map[kernel.Role]int{}, samples: samples{}, walk: newWalked()}
}

// Expect makes room for that many steps and some more, and has the kernel give the memory at once. While connections are
// opened, each new page would cost them time.
func (l *Ledger) Expect(steps int) {
	l.log = slices.Grow(l.log, max(0, min(steps+steps/8, maxLog)-len(l.log)))
	clear(l.log[len(l.log):cap(l.log)])
}

// Opened enters an endpoint that was opened by connect() or by a handshake on the listening side.
func (l *Ledger) Opened(e kernel.EndpointEvent) { l.write(step{e, stepOpened}) }

// Accepted enters the process that an endpoint was handed to.
func (l *Ledger) Accepted(e kernel.EndpointEvent) { l.write(step{e, stepAccepted}) }

// Closed strikes an endpoint out. Listeners and endpoints from before the trace are not in the ledger.
func (l *Ledger) Closed(e kernel.EndpointEvent) { l.write(step{e, stepClosed}) }

// Failed strikes out an endpoint that never came up: it is no closed one.
func (l *Ledger) Failed(e kernel.EndpointEvent) { l.write(step{e, stepFailed}) }

func (l *Ledger) write(s step) {
	if len(l.log) == maxLog {
		l.post()
	}
	l.log = append(l.log, s)
}

// post works the log off.
func (l *Ledger) post() {
	for i := range l.log {
		s := &l.log[i]
		o, known := l.opened[s.Sock]
		switch s.kind {
		case stepOpened:
			pid := s.PID
			if o.before && pid == 0 {
				pid = o.pid // accepted on one CPU while another was about to report the handshake
			}
			o = opened{nanoseconds: s.Nanoseconds, pid: pid, role: s.Role}
		case stepAccepted:
			if !known {
				o.nanoseconds, o.before = s.Nanoseconds, true
			}
			o.pid, o.role = s.PID, kernel.RoleServer
		case stepFailed:
			delete(l.opened, s.Sock)
			continue
		case stepClosed:
			if known {
				if !o.before {
					l.closed[o.role]++
				}
				delete(l.opened, s.Sock)
			}
			continue
		}
		l.opened[s.Sock] = o
	}
	l.log = l.log[:0]
}

// endpoint is what the trace knows of a sock.
func (l *Ledger) endpoint(sock uint64) (opened, bool) {
	if len(l.log) > 0 {
		l.post()
	}
	o, ok := l.opened[sock]
	return o, ok
}

// Sampled enters a sampled allocation.
func (l *Ledger) Sampled(s kernel.StackSample) { l.samples.add(s, l.arranging.Load()) }

// Arranging says that the samples from now on are of bringing the connections into their scenario: what buffers they
// find is what is queued, and not what came and went with a handshake. It may be called while events come in.
func (l *Ledger) Arranging() { l.arranging.Store(true) }

// Closes is how many endpoints the trace saw opened and destroyed.
func (l *Ledger) Closes() int {
	l.post()
	n := 0
	for _, c := range l.closed {
		n += c
	}
	return n
}
