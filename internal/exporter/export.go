// Package exporter serves what looks at the host find: to Prometheus, and to collectors of profiles.
package exporter

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/connprof/connprof/internal/live"
	"github.com/connprof/connprof/internal/recording"
)

// Source looks at the host. live.Watcher is one. Its methods are called one after the other.
type Source interface {
	Look() (*recording.Machine, error)
	// Pause is how long to wait after a look, where one in each interval is wanted.
	Pause(interval time.Duration) time.Duration
	// Counts is what has been opened and closed; live.ErrNotCounting where nothing counts.
	Counts() (*live.Counts, error)
}

// Sight is one look, with what had been opened and closed when it ended.
type Sight struct {
	Machine *recording.Machine
	Counts  *live.Counts // nil where nothing counts
	At      time.Time    // when it ended
}

// Looks shares looks among all who ask: never are there two at a time, and one serves for an interval.
type Looks struct {
	source   Source
	interval time.Duration
	mu       sync.Mutex
	last     *look // the last one that has ended, whether it failed or not
	until    time.Time
	going    *look // nil: none
}

// look is one look, over when done is closed.
type look struct {
	done  chan struct{}
	sight *Sight
	err   error
}

// NewLooks shares the looks of a source.
func NewLooks(source Source, interval time.Duration) *Looks {
	return &Looks{source: source, interval: interval}
}

// Get is the last look where that is new enough, else the one under way or a new one. It waits for that as long as ctx does. Whoever
// gives up leaves the look going, and the next who asks waits for the same one.
func (l *Looks) Get(ctx context.Context) (*Sight, error) {
	now := l.next()
	select {
	case <-now.done:
		return now.sight, now.err
	case <-ctx.Done():
		return nil, fmt.Errorf("the look at the host has not ended yet: %w", context.Cause(ctx))
	}
}

func (l *Looks) next() *look {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.going != nil {
		return l.going
	}
	if l.last != nil && time.Now().Before(l.until) {
		return l.last
	}
	l.going = &look{done: make(chan struct{})}
	go l.take(l.going)
	return l.going
}

// take looks.
func (l *Looks) take(now *look) {
	now.sight, now.err = l.see()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, l.going, l.until = now, nil, time.Now().Add(l.source.Pause(l.interval*2/3)) // a scrape an interval later is not to get the same
	close(now.done)
}

func (l *Looks) see() (*Sight, error) {
	m, err := l.source.Look()
	if err != nil {
		return nil, fmt.Errorf("look at the host: %w", err)
	}
	counts, err := l.source.Counts()
	if err != nil && err != live.ErrNotCounting {
		return nil, fmt.Errorf("read what was opened and closed: %w", err)
	}
	return &Sight{Machine: m, Counts: counts, At: time.Now()}, nil
}
