package live

import (
	"errors"
	"time"

	"github.com/connprof/connprof/internal/filter"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/loader"
)

// Watcher looks at a host again and again. The walk stays loaded meanwhile, and what the kernel's allocation sites tell is found
// once. Its methods are for one goroutine.
type Watcher struct {
	options     Options
	calibration calibrationResult
	probes      *loader.Probes
	took        time.Duration // what the last look took
	counting    *counting     // nil while nothing is counted
	listening   map[place]int // as listeners.places, by the last look; nil before it
}

// NewWatcher loads what looks take. Options.Endpoints is for one look only.
func NewWatcher(o Options) (*Watcher, error) {
	w := &Watcher{options: o, calibration: o.calibrate()}
	var err error
	w.probes, err = o.load(nil)
	return w, err
}

// Close unloads everything.
func (w *Watcher) Close() error {
	if w.probes == nil {
		return nil
	}
	return errors.Join(w.StopCounting(), w.probes.Close())
}

// Choose has the looks from now on take the sockets alone that a filter is true of, beside what Options.Choice.Plain chooses; nil
// chooses all of those.
func (w *Watcher) Choose(f *filter.Filter) { w.options.Choice.Filter = f }

// Divide has the looks from now on divided by keys, as Options.By.
func (w *Watcher) Divide(by []string) { w.options.By = by }

// Rank is Options.Ranks of the looks from now on.
func (w *Watcher) Rank(ranks func(*recording.Group) bool) { w.options.Ranks = ranks }

// Look looks at all TCP sockets of the host, and holds them against the kernel's books.
func (w *Watcher) Look() (*recording.Machine, error) { return w.look(time.Now(), cpuTime()) }

// look is a look whose cost counts from then on.
func (w *Watcher) look(begun time.Time, usage time.Duration) (*recording.Machine, error) {
	started := time.Now()
	l := newLook(w.options)
	l.begun, l.usage = begun, usage
	l.settle()
	l.checkPIDNamespace()
	l.use(w.probes, w.calibration)
	if err := l.walk(); err != nil {
		return nil, err
	}
	if w.listening = l.queues.places; w.listening == nil {
		w.listening = map[place]int{}
	}
	err := l.finish()
	w.took = time.Since(started)
	return l.machine, err
}

// restFactor is how many times as long as a look the pause after it is at least: looking costs a host no more than a tenth of one of
// its processors.
const restFactor = 10

// Pause is how long to wait between the end of the last look and the next one, where one in each interval is wanted.
func (w *Watcher) Pause(interval time.Duration) time.Duration {
	return max(interval-w.took, restFactor*w.took)
}
