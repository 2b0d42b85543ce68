package experiment

import (
	"context"
	"fmt"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
)

// Status is a look at a run in progress.
type Status struct {
	Elapsed     time.Duration // since the command started
	Requested   int
	Established int
	Failed      int
	PerSecond   float64       // over the last second or so
	SlabBytes   int64         // growth since before the first connection
	PerEndpoint float64       // SlabBytes over the endpoints that are up
	Left        time.Duration // at the present rate; 0 when not known
	Done        bool
}

const (
	// tick is how often the load is looked at while connections are opened.
	tick = 100 * time.Millisecond
	// restTick is how often it is while the batch is: its connections come up within a tenth of a second.
	restTick = 500 * time.Microsecond
	// handshakeTimeout ends the wait for handshakes that make no progress; a lost SYN is sent again after 1, 3 and 7 s.
	handshakeTimeout = 15 * time.Second
	// stuck is how long the accepting end may lag behind without progress before it is given up.
	stuck = handshakeTimeout + 5*time.Second
	// unbegun is how long it waits for a connecting end on another machine to begin, whose probes may load slowly.
	unbegun = 2 * time.Minute
	// giveUp is how long a ramp that was told to stop may make no progress.
	giveUp = 1500 * time.Millisecond
)

// Watch follows the load from look to look while connections are opened: it samples the timeline, reports progress, and ends
// the ramp when the host is about to suffer or nothing moves any more.
type Watch struct {
	stage     *Stage
	stop      func(*load.Engine) string // why the other end wants no more connections
	timeline  []recording.TimelinePoint
	interrupt string // why the ramp ended early
	over      bool   // nothing more comes up
	last      load.Progress
	moved     time.Time // when anything last changed
	looked    time.Time
	asked     time.Time // when other runs were last looked for
	rates     []ratePoint
}

type ratePoint struct {
	at time.Time
	up int
}

// Watch begins to watch the load. The ramp ends when stop says why.
func (s *Stage) Watch(stop func(*load.Engine) string) *Watch {
	return &Watch{stage: s, stop: stop, moved: time.Now()}
}

// End has the load open no more connections, for a reason. The first one counts.
func (w *Watch) End(why string) {
	if w.interrupt == "" {
		w.interrupt = why
	}
	w.stage.engine.StopRamp()
}

// Interrupt is why the ramp ended early, empty if it did not.
func (w *Watch) Interrupt() string { return w.interrupt }

// until looks at the load every so often, until done says so, the load ends, or the context does.
func (w *Watch) until(ctx context.Context, every time.Duration, done func() bool) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	engine, stop := w.stage.engine, w.stage.plan.Options.Stop
	if w.interrupt != "" {
		stop = nil
	}
	for {
		select {
		case <-ctx.Done():
			return ErrAborted
		case <-stop:
			stop = nil
			w.End("interrupted")
		case <-engine.Ended():
			if ctx.Err() != nil {
				return ErrAborted // the load was killed for it
			}
			w.End(engine.Err().Error())
			w.look()
			return nil
		case <-ticker.C:
		}
		w.Look()
		if done() {
			return nil
		}
	}
}

// atRest waits until the first connections are up, and two looks in a row have found no change. It is false where the ramp
// was over before.
func (w *Watch) atRest(ctx context.Context, size int) (up bool, err error) {
	var last load.Progress
	err = w.until(ctx, restTick, func() bool {
		p := w.stage.engine.Progress()
		quiet := p == last && p.Attempted >= size && p.Established+p.Failed >= p.Attempted && p.Accepted >= p.Established
		last, up = p, quiet && w.interrupt == ""
		return up || w.over && w.interrupt != ""
	})
	return up, err
}

// Look looks at the load, if it is time.
func (w *Watch) Look() {
	if time.Since(w.looked) >= tick {
		w.look()
	}
}

func (w *Watch) look() {
	now := time.Now()
	w.looked = now
	p := w.stage.engine.Progress()
	if p != w.last {
		w.last, w.moved = p, now
	}
	if now.Sub(w.asked) > time.Second {
		w.asked = now
		w.stage.others.company()
	}
	info, err := kernel.ReadMeminfo()
	if err != nil {
		w.over = w.isOver(p, now)
		return
	}
	w.timeline = append(w.timeline, recording.TimelinePoint{Seconds: now.Sub(w.stage.plan.Options.Started).Seconds(),
		Established: p.Up(), SlabBytes: info["Slab"]})
	if why := w.limitReached(info); why != "" {
		w.End(why)
	}
	w.over = w.isOver(p, now)
	w.report(p, now, int64(info["Slab"])-int64(w.stage.before.SlabBytes))
}

func (w *Watch) isOver(p load.Progress, now time.Time) bool {
	tried := p.Attempted >= w.stage.plan.Conns || w.interrupt != ""
	if tried && p.Established+p.Failed == p.Attempted && p.Accepted >= p.Established {
		// A ramp that was told to stop may be between two connections: wait for one quiet look.
		return w.interrupt == "" || now.Sub(w.moved) >= 2*tick
	}
	if w.interrupt != "" && now.Sub(w.moved) >= giveUp {
		return true // what is neither up nor failed by now waits for something that will not come
	}
	patience := stuck
	if p.Attempted == 0 && w.stage.plan.Ends.Elsewhere(kernel.RoleClient) {
		patience = unbegun
	}
	if now.Sub(w.moved) > patience {
		w.End(fmt.Sprintf("no progress for %v: %s", patience, w.stage.standstill(p)))
		return true
	}
	return false
}

// standstill is what the connections wait for.
func (s *Stage) standstill(p load.Progress) string {
	server, x := s.plan.served, s.plan.Options.Exchange
	switch {
	case server == nil || p.Connected == 0:
		return fmt.Sprintf("%d of %d attempts up, %d accepted", p.Established, p.Attempted, p.Accepted)
	case p.Accepted < p.Connected:
		return fmt.Sprintf("the server has accepted %d of %d connections, and the others wait in its accept queue, which takes %d",
			p.Accepted, p.Connected, server.queues.backlog)
	case x != nil:
		return fmt.Sprintf("the server has accepted %d connections, and %d have had the expected answer (--expect)", p.Accepted, p.Established)
	}
	return fmt.Sprintf("%d of %d attempts up, and the server has accepted all of them", p.Established, p.Attempted)
}

func (w *Watch) report(p load.Progress, now time.Time, slab int64) {
	plan := w.stage.plan
	if plan.Options.Progress == nil {
		return
	}
	w.rates = append(w.rates, ratePoint{now, p.Up()})
	for len(w.rates) > 2 && now.Sub(w.rates[0].at) > 1500*time.Millisecond {
		w.rates = w.rates[1:]
	}
	s := Status{Elapsed: now.Sub(plan.Options.Started), Requested: plan.Conns, Established: p.Up(), Failed: p.Failed,
		SlabBytes: slab, Done: w.over}
	if first := w.rates[0]; now.After(first.at) {
		s.PerSecond = float64(p.Up()-first.up) / now.Sub(first.at).Seconds()
	}
	if s.PerSecond > 0 {
		s.Left = time.Duration(float64(plan.Conns-p.Up()) / s.PerSecond * float64(time.Second))
	}
	if p.Up() > 0 {
		s.PerEndpoint = float64(slab) / float64(plan.Ends.inKernel()*p.Up())
	}
	plan.Options.Progress(s)
}
