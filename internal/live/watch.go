package live

import (
	"context"
	"errors"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

const (
	tick          = 50 * time.Millisecond
	statusEvery   = time.Second
	copiesAtOnce  = 4096
	copiesASecond = 2000
)

// watch lets the time pass: until the duration is over, the command has ended, or somebody stops it.
func (r *record) watch(parent context.Context) error {
	if err := r.findListeners(); err != nil {
		return err
	}
	if err := errors.Join(r.probes.AllowCopies(copiesAtOnce), r.probes.StartOpens()); err != nil {
		return err
	}
	r.start = time.Now()
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	if r.options.Stacks {
		r.paths = newPaths(r.probes)
		go r.paths.follow(ctx)
	}
	if err := r.takeBaseline(); err != nil {
		return err
	}
	if r.options.Ready != nil {
		r.options.Ready(r.machine.Hooks)
	}
	var ended <-chan struct{}
	if c := r.options.Command; c != nil {
		if err := c.Start(); err != nil {
			return err
		}
		ended = c.over
	}
	if err := r.pass(parent, ended); err != nil {
		return err
	}
	r.result.Seconds = time.Since(r.start).Seconds()
	return r.probes.EndOpens() // before the last copies are read
}

// pass counts until the end.
func (r *record) pass(ctx context.Context, ended <-chan struct{}) error {
	clock := time.NewTicker(tick)
	defer clock.Stop()
	var over <-chan time.Time
	if r.options.Duration > 0 {
		timer := time.NewTimer(r.options.Duration)
		defer timer.Stop()
		over = timer.C
	}
	for {
		select {
		case <-clock.C:
			if err := r.tick(time.Since(r.start)); err != nil {
				return err
			}
		case <-over:
			return nil
		case <-ended:
			return nil
		case <-r.options.Stop:
			r.interrupted = "stopped before its time"
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tick keeps what has been counted so far.
func (r *record) tick(at time.Duration) error {
	allowed := copiesAtOnce + uint64(at.Seconds()*copiesASecond)
	if r.paths != nil && r.paths.full.Load() {
		allowed = 0
	}
	if err := r.probes.AllowCopies(allowed); err != nil {
		return err
	}
	if at >= r.swept+statusEvery {
		r.swept = at
		if err := r.retire(); err != nil {
			return err
		}
	}
	due := r.history.due(at)
	show := r.options.Progress != nil && at >= r.status.Elapsed+statusEvery
	if !due && !show {
		return nil
	}
	counters, err := r.probes.OpenCounters()
	if err != nil {
		return err
	}
	if show {
		r.show(at, &counters)
	}
	if !due {
		return nil
	}
	m := moment{at: at, live: map[kernel.OpenerID]int{}, point: recording.RecordPoint{Seconds: at.Seconds(), Opened: int(counters.Opened),
		Closed: int(counters.Closed), Failed: int(counters.Failed)}}
	var chosen recording.RecordPoint
	if m.live, chosen, err = r.countOpen(); err != nil {
		return err
	}
	if r.asked.chooses() {
		chosen.Seconds = m.point.Seconds
		m.point = chosen
	}
	r.history.add(m)
	return nil
}

// countOpen is how many are open by opener, and the sums of those that are asked for.
func (r *record) countOpen() (live map[kernel.OpenerID]int, chosen recording.RecordPoint, err error) {
	live = map[kernel.OpenerID]int{}
	chooses := r.asked.chooses()
	add := func(id kernel.OpenerID, c *kernel.OpenerCounts) {
		if chooses && r.asksForOpener(id, c) {
			chosen.Opened += int(c.Opened)
			chosen.Closed += int(c.Closed)
			chosen.Failed += int(c.Failed)
		}
	}
	err = r.probes.Openers(func(id kernel.OpenerID, c *kernel.OpenerCounts) {
		add(id, c)
		if c.Opened > c.Closed {
			if to, known := r.paths.resolve(id); known {
				id = to
			}
			live[id] += int(c.Opened - c.Closed)
		}
	})
	for id, c := range r.retired {
		add(id, c)
	}
	return live, chosen, err
}

// asksForOpener tells whether an opener is asked for, while the time lasts.
func (r *record) asksForOpener(id kernel.OpenerID, c *kernel.OpenerCounts) bool {
	comm, pid := c.Comm, r.pidOf(id, c)
	if netns, port, is := id.Listener(); is {
		comm = r.listening[place{netns, port}].comm
	}
	return r.asked.processes(comm, r.asked.known.container(pid), map[uint32]struct{}{pid: {}})
}

// fewRows is how many openers stay in the map whatever becomes of them.
const fewRows = 1024

// retire takes copies' rows off the map whose one connection is closed: nothing is counted for them any more. What they count goes
// to their paths, so that a program whose stacks are all different takes no more memory the longer it is watched.
func (r *record) retire() error {
	type finished struct {
		id, to kernel.OpenerID
		counts kernel.OpenerCounts
	}
	rows := 0
	var list []finished
	err := r.probes.Openers(func(id kernel.OpenerID, c *kernel.OpenerCounts) {
		rows++
		if !id.Sample() || c.Opened == 0 || c.Opened != c.Closed {
			return
		}
		if to, known := r.paths.resolve(id); known {
			list = append(list, finished{id, to, *c})
		}
	})
	if err != nil || rows < fewRows {
		return err
	}
	for i := range list {
		gone := &list[i]
		if err := r.probes.ForgetOpener(gone.id); err != nil {
			return err
		}
		if r.retired[gone.to] == nil {
			r.retired[gone.to] = &kernel.OpenerCounts{}
		}
		r.retired[gone.to].Add(&gone.counts)
		r.paths.forget(gone.id)
	}
	return nil
}

// show tells how it gets on.
func (r *record) show(at time.Duration, c *kernel.OpenCounters) {
	s := RecordStatus{Elapsed: at, Opened: c.Opened, Closed: c.Closed, Failed: c.Failed, Paths: c.Copied, Lost: c.MapFull + c.RowsFull}
	if c.Opened > c.Closed {
		s.Open = c.Opened - c.Closed
	}
	if passed := (at - r.status.Elapsed).Seconds(); passed > 0 {
		s.OpensPerSecond = float64(c.Opened-r.status.Opened) / passed
		s.ClosesPerSecond = float64(c.Closed-r.status.Closed) / passed
	}
	r.status = s
	r.options.Progress(s)
}
