package live

import (
	"context"
	"fmt"
	"time"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/loader"
)

// RecordOptions chooses what is watched, and how.
type RecordOptions struct {
	Options
	// Duration is how long; 0: until it is stopped, or until Command ends.
	Duration time.Duration
	// Stacks has the code paths told apart, and not only the processes.
	Stacks bool
	// AcceptStacks has accept() watched at the end of every system call where nothing better can be hooked.
	AcceptStacks bool
	// Compare has every stack unwound, recognised or not, and counts those that were taken for another.
	Compare bool
	// Command is started and watched with its descendants alone; nil: all that runs is watched.
	Command *Command
	// Stop ends it early, with a report.
	Stop <-chan struct{}
	// Ready, if not nil, is called when everything that opens is seen from now on.
	Ready func([]recording.Hook)
	// Progress, if not nil, is called about once a second.
	Progress func(RecordStatus)
}

// RecordStatus is how a record gets on.
type RecordStatus struct {
	Elapsed                      time.Duration
	Opened, Closed, Failed, Open uint64
	OpensPerSecond               float64
	ClosesPerSecond              float64
	Paths                        uint64 // stacks that were copied and unwound
	Lost                         uint64
}

// record is one record under way.
type record struct {
	*look
	options RecordOptions
	start   time.Time // when the hooks were on
	opens   *loader.Opens
	paths   *paths
	before  map[uint64]struct{} // socks that were open when the hooks came on
	history history
	// retired is the counts of openers that were taken off the programs' map.
	retired map[kernel.OpenerID]*kernel.OpenerCounts
	swept   time.Duration // when that was last done
	status  RecordStatus
	baseline
	result    *recording.Record
	asked     asked
	listening listening
	open      map[uint64]kernel.OpenSocket // at the end
	others    map[uint64]struct{}          // the socks that are of another connection by then
	rows      openerRows
	flows     flows
	// interrupted is why it ended early.
	interrupted string
}

// baseline is the host's memory when the record begins.
type baseline struct {
	slab      uint64 // bytes
	pageBytes uint64 // of all endpoints
}

// Record watches connections being opened and closed, and looks at the host at the end.
func Record(ctx context.Context, o RecordOptions) (m *recording.Machine, interrupted string, err error) {
	r := &record{look: newLook(o.Options), options: o, before: map[uint64]struct{}{}, retired: map[kernel.OpenerID]*kernel.OpenerCounts{},
		listening: listening{}, flows: flows{}, result: &recording.Record{},
		asked: asked{plain: o.Choice.Plain, command: o.Command != nil, known: processes{}}}
	r.machine.Record = r.result
	r.checkPIDNamespace()
	r.opens = &loader.Opens{Stacks: o.Stacks, AcceptStacks: o.AcceptStacks, CopyAlways: o.Compare}
	if o.Command != nil {
		r.opens.Followed = o.Command.parent()
		r.result.Command = o.Command.Args
	}
	if pids := o.Choice.Plain.PIDs; len(pids) <= loader.MostAsked {
		r.opens.PIDs, r.asked.inBPF = pids, len(pids)
	}
	r.opening, r.of = r.opens, r
	if c := o.Command; c != nil {
		defer c.End()
	}
	r.settle()
	if err := r.load(); err != nil {
		return nil, "", err
	}
	defer r.probes.Close()
	if err := r.watch(ctx); err != nil {
		return nil, "", err
	}
	if err := r.close(); err != nil {
		return nil, "", err
	}
	return r.machine, r.interrupted, r.finish()
}

// findListeners finds who listens where.
func (r *record) findListeners() error {
	if err := r.listening.find(r.probes); err != nil {
		return err
	}
	var unconnected []kernel.Endpoint
	if err := r.readOwners(&unconnected); err != nil {
		return err
	}
	return r.listening.name(r.owners, r.opens.PIDs, r.probes)
}

// takeBaseline finds what is open already, and what it holds.
func (r *record) takeBaseline() error {
	info, err := kernel.ReadMeminfo()
	if err != nil {
		return fmt.Errorf("read the host's memory: %w", err)
	}
	r.slab = info["Slab"]
	ledger := account.NewLedger(0)
	_, err = r.probes.WalkAll(func(e *kernel.Endpoint) error {
		ledger.Visit(e, r.caches)
		if connected(e) {
			r.before[e.Sock] = struct{}{}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var m recording.Machine
	ledger.FillWalk(&m, r.caches)
	for i := range m.Endpoints {
		r.pageBytes += m.Endpoints[i].PageBytes
	}
	// What was opened while the walk went on is no part of what was open before.
	err = r.probes.OpenSockets(func(sock uint64, s kernel.OpenSocket) {
		if !s.Opener.Late() {
			delete(r.before, sock)
		}
	})
	return err
}

// connected tells whether an endpoint is a full sock of a connection, and nothing that stands in for one.
func connected(e *kernel.Endpoint) bool {
	return e.State != kernel.StateListen && e.State != kernel.StateClose && e.Remote.Port() != 0 && e.Objects[kernel.TCPSock] > 0
}

// close finds what is open and what it holds. The hooks stay on while the walk goes on, so that it is known what was opened and closed
// meanwhile; nothing new counts.
func (r *record) close() error {
	counters, err := r.probes.OpenCounters()
	if err != nil {
		return err
	}
	if r.paths != nil {
		<-r.paths.drained
		if r.paths.err != nil {
			r.note("%v: stacks are missing", r.paths.err)
		}
	}
	r.open, r.others = map[uint64]kernel.OpenSocket{}, map[uint64]struct{}{}
	if err := r.probes.OpenSockets(func(sock uint64, s kernel.OpenSocket) {
		if !s.Opener.Late() {
			r.open[sock] = s
		}
	}); err != nil {
		return err
	}
	if err := r.listening.learn(r.probes); err != nil {
		return err
	}
	if err := r.gatherOpeners(); err != nil {
		return err
	}
	if err := r.walk(); err != nil {
		return err
	}
	if err := r.fillRecord(counters); err != nil {
		return err
	}
	if err := r.probes.Detach(); err != nil {
		return fmt.Errorf("detach the hooks: %w", err)
	}
	return nil
}
