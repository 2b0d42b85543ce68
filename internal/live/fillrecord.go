package live

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func timeOf(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// fillRecord closes the record's own part: the openers, their sums, and by how much the host's memory grew.
func (r *record) fillRecord(c kernel.OpenCounters) error {
	if err := r.countLive(); err != nil {
		return err
	}
	r.ledger.FillWalk(r.machine, r.caches)
	shares := r.ledger.ByOpener(r.caches)
	var places locations
	type numbered struct {
		recording.Opener
		number int
	}
	var list []numbered
	for i, row := range r.rows.list {
		out := numbered{number: i + 1}
		row.fill(&out.Opener, shares[uint32(i+1)], &places)
		if r.wants(row) && out.Opened+out.Live+out.Closed > 0 {
			list = append(list, out)
		}
	}
	slices.SortFunc(list, func(a, b numbered) int { return costlier(&a.Opener, &b.Opener) })
	at := make([]int, len(r.rows.list)+1)
	for i := range list {
		r.machine.Openers = append(r.machine.Openers, list[i].Opener)
		at[list[i].number] = i + 1
	}
	for i := range r.machine.Groups {
		g := &r.machine.Groups[i]
		g.Opener = at[g.Opener]
	}
	r.machine.Locations = places.list
	r.sum(&c)
	r.result.Churn = []recording.Churn{}
	if r.all() || len(r.opens.PIDs) > 0 { // else it is counted without regard to what is chosen
		var err error
		if r.result.Churn, err = r.flows.churn(r.probes); err != nil {
			return err
		}
	}
	return r.fillGrowth()
}

// costlier orders openers by what is open, and then by what was opened.
func costlier(a, b *recording.Opener) int {
	return cmp.Or(cmp.Compare(b.LivePageBytes+b.LiveBufferBytes, a.LivePageBytes+a.LiveBufferBytes), cmp.Compare(b.Live, a.Live),
		cmp.Compare(b.Opened, a.Opened), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Comm, b.Comm),
		slices.Compare(a.Frames, b.Frames), cmp.Compare(a.Listener, b.Listener), cmp.Compare(a.Netns, b.Netns))
}

// countLive counts what was open when the time was over, and, after the walk, what has neither been closed by an event since nor been
// found: it was closed earlier, and the kernel did not say so.
func (r *record) countLive() error {
	for _, s := range r.open {
		n := r.rows.byID[s.Opener]
		if n == 0 {
			continue
		}
		row := r.rows.list[n-1]
		row.live++
		if s.Error != 0 { // it did not come up, and has not been closed
			row.counts.Failed++
			row.counts.Errors[min(int(s.Error), kernel.OpenErrors-1)]++
		}
	}
	return r.probes.OpenSockets(func(sock uint64, s kernel.OpenSocket) {
		_, met := r.seen[sock]
		if _, other := r.others[sock]; other {
			met = false
		}
		old, known := r.open[sock]
		if n := r.rows.byID[old.Opener]; known && n != 0 && !met && old.Opened == s.Opened {
			r.rows.list[n-1].vanished++
		}
	})
}

// sum adds up the openers that are asked for.
func (r *record) sum(c *kernel.OpenCounters) {
	out := r.result
	if r.options.Command != nil {
		out.CommandStatus = r.options.Command.Status()
	}
	if r.all() || len(r.opens.PIDs) > 0 {
		out.NeverConnected = int(c.NeverConnected)
	}
	if r.all() && r.options.Command == nil {
		out.Before, out.BeforeClosed = len(r.before), int(c.ClosedBefore)
	}
	reasons := map[string]int{}
	for i := range r.machine.Openers {
		o := &r.machine.Openers[i]
		switch o.Kind {
		case recording.OpenerBefore:
			if o.Closed = out.BeforeClosed; !r.all() || r.options.Command != nil {
				out.Before = o.Live // of those that have been closed it is not known whose they were
			}
			continue
		case recording.OpenerUnseen:
			out.Unseen = o.Live
			continue
		}
		out.Opened += o.Opened
		out.Closed += o.Closed
		out.Failed += o.Failed
		out.Live += o.Live
		switch o.Stack {
		case recording.StackWhole:
			out.Stacks.Whole += o.Opened
		case recording.StackPart:
			out.Stacks.Part += o.Opened
		default:
			out.Stacks.None += o.Opened
		}
		if o.Stack != recording.StackWhole {
			reasons[o.Why] += o.Opened
		}
	}
	for _, row := range r.rows.list {
		if r.wants(row) {
			out.Vanished += row.vanished
			out.Untracked += row.untracked()
		}
	}
	if out.Untracked > 0 {
		r.note("%d connections found no place among the open ones: what became of them is not known, and whose those are that are still open",
			out.Untracked)
	}
	for why, n := range reasons {
		out.Stacks.Reasons = append(out.Stacks.Reasons, recording.StackReason{Reason: why, Count: n})
	}
	slices.SortFunc(out.Stacks.Reasons, func(a, b recording.StackReason) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	out.Stacks.Copied = int(c.Copied)
	out.Timeline = r.history.timeline(recording.RecordPoint{Seconds: out.Seconds, Opened: out.Opened, Closed: out.Closed, Failed: out.Failed})
	r.machine.Losses.MapFull += c.MapFull + c.RowsFull
	missed, err := r.probes.Counters() // what the kernel counts of programs that it left out
	if err != nil {
		r.note("%v: how often the kernel left the programs out is not known", err)
	}
	r.machine.Losses.RecursionMisses += missed.RecursionMisses
	if p := r.paths; p != nil && r.options.Compare {
		out.Stacks.Compared, out.Stacks.Mistaken = p.compared, p.mistaken
	}
}

// fillGrowth holds the growth of slab memory against that of all endpoints.
func (r *record) fillGrowth() error {
	info, err := kernel.ReadMeminfo()
	if err != nil {
		return err
	}
	var pages uint64
	for i := range r.machine.Endpoints {
		pages += r.machine.Endpoints[i].PageBytes
	}
	grown := &recording.Reconcile{SlabDeltaBytes: int64(info["Slab"]) - int64(r.slab), AccountedPageBytes: int64(pages) - int64(r.pageBytes),
		Caches: []recording.CacheRow{}}
	if grown.SlabDeltaBytes != 0 {
		grown.UnexplainedRatio = math.Abs(float64(grown.Unexplained())) / math.Abs(float64(grown.SlabDeltaBytes))
	}
	if r.all() && r.options.Command == nil { // else the account is of a part
		r.machine.Reconcile = grown
	}
	return nil
}

func (r *record) all() bool { return r.options.Choice.all() }
