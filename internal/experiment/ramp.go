package experiment

import (
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

// tick is how often the ramp is looked at.
const tick = 100 * time.Millisecond

// stuck is how long the accepting end may lag behind without progress before it is given up.
const stuck = handshakeTimeout + 5*time.Second

// ramp opens the connections and returns when all are up or given up, or when something ended it early.
func (r *runner) ramp() error {
	batch := r.beginBatch()
	defer batch.stop()
	if err := r.engine.Begin(); err != nil {
		return err
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	w := rampWatch{r: r, moved: time.Now()}
	stop := r.options.Stop
	for {
		select {
		case <-r.options.Abort:
			return ErrAborted
		case <-stop:
			stop = nil
			r.endRamp("interrupted")
		case <-r.engine.Ended():
			r.endRamp(r.engine.Err().Error())
			w.look()
			return nil
		case <-batch.C:
			if err := batch.look(); err != nil {
				return err
			}
			continue
		case <-ticker.C:
		}
		if w.look() {
			r.engine.StopRamp() // shards that wait for a higher limit wait no more
			return nil
		}
	}
}

func (r *runner) endRamp(why string) {
	if r.interrupt == "" {
		r.interrupt = why
	}
	r.engine.StopRamp()
}

// rampWatch follows the ramp's progress from look to look.
type rampWatch struct {
	r     *runner
	last  load.Progress
	moved time.Time // when anything last changed
	asked time.Time // when other runs were last looked for
	rates []ratePoint
}

type ratePoint struct {
	at time.Time
	up int
}

// look samples the timeline, reports progress, and tells whether the ramp is over.
func (w *rampWatch) look() bool {
	r := w.r
	p := r.engine.Progress()
	now := time.Now()
	if p != w.last {
		w.last, w.moved = p, now
	}
	if now.Sub(w.asked) > time.Second {
		w.asked = now
		r.others.company()
	}
	if info, err := kernel.ReadMeminfo(); err == nil {
		point := recording.TimelinePoint{Seconds: now.Sub(r.options.Started).Seconds(), Established: p.Up(),
			SlabBytes: info["Slab"]}
		r.machine.Load.Timeline = append(r.machine.Load.Timeline, point)
		if why := r.limitReached(info); why != "" {
			r.endRamp(why)
		}
		w.report(p, now, int64(info["Slab"])-int64(r.before.SlabBytes))
	}
	return w.over(p, now)
}

// giveUp is how long a ramp that was told to stop may make no progress.
const giveUp = 1500 * time.Millisecond

func (w *rampWatch) over(p load.Progress, now time.Time) bool {
	tried := p.Attempted == w.r.conns || w.r.interrupt != ""
	if tried && p.Established+p.Failed == p.Attempted && p.Accepted >= p.Established {
		// A ramp that was told to stop may be between two connections: wait for one quiet look.
		return w.r.interrupt == "" || now.Sub(w.moved) >= 2*tick
	}
	if w.r.interrupt != "" && now.Sub(w.moved) >= giveUp {
		return true // what is neither up nor failed by now waits for something that will not come
	}
	if now.Sub(w.moved) > stuck {
		w.r.endRamp(fmt.Sprintf("no progress for %v: %d of %d attempts up, %d accepted", stuck, p.Established,
			p.Attempted, p.Accepted))
		return true
	}
	return false
}

func (w *rampWatch) report(p load.Progress, now time.Time, slab int64) {
	if w.r.options.Progress == nil {
		return
	}
	w.rates = append(w.rates, ratePoint{now, p.Up()})
	for len(w.rates) > 2 && now.Sub(w.rates[0].at) > 1500*time.Millisecond {
		w.rates = w.rates[1:]
	}
	s := Status{Elapsed: now.Sub(w.r.options.Started), Requested: w.r.conns, Established: p.Up(), Failed: p.Failed,
		SlabBytes: slab}
	if first := w.rates[0]; now.After(first.at) {
		s.PerSecond = float64(p.Up()-first.up) / now.Sub(first.at).Seconds()
	}
	if s.PerSecond > 0 {
		s.Left = time.Duration(float64(w.r.conns-p.Up()) / s.PerSecond * float64(time.Second))
	}
	if p.Up() > 0 {
		s.PerEndpoint = float64(slab) / float64(w.r.between.ends()*p.Up())
	}
	s.Done = w.over(p, now)
	w.r.options.Progress(s)
}
