package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/connprof/connprof/internal/live"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/screen"
	"github.com/connprof/connprof/internal/top"
)

// interactive tells whether there is a person at both ends.
func interactive() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())) && knownTerminal()
}

// screenHost is the host as the screen looks at it. The lock is for the end, when a look may still be under way.
type screenHost struct {
	mu       sync.Mutex
	watcher  *live.Watcher
	ticks    *top.Ticker
	interval time.Duration
	asked    screen.Ask
	over     bool
}

var errOver = errors.New("it is over")

// Look looks as the screen asks.
func (h *screenHost) Look(a screen.Ask) (*top.Tick, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return nil, errOver
	}
	count := h.watcher.Count
	if !a.Count {
		count = h.watcher.StopCounting
	}
	if err := count(); err != nil {
		return nil, err
	}
	if !slices.Equal(a.By, h.asked.By) {
		h.watcher.Divide(a.By)
		h.ticks.Divide(a.By)
	}
	if a.Filter != h.asked.Filter {
		h.watcher.Choose(a.Filter)
		h.ticks.Restart()
	}
	h.watcher.Rank(a.Of)
	h.ticks.Sort(a.Sort)
	h.asked = a
	return h.ticks.Look(h.watcher)
}

// Pause is how long to wait before the next look.
func (h *screenHost) Pause() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.watcher.Pause(h.interval)
}

// Rest detaches what counts.
func (h *screenHost) Rest() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.watcher.StopCounting()
}

// Write writes a look into a new file of the working directory.
func (*screenHost) Write(m *recording.Machine) (string, error) {
	rec := recordingOf(recording.KindSnapshot, m, "")
	name := "connprof-" + rec.Created.Local().Format("20060102-150405") + ".json"
	if _, err := os.Lstat(name); err == nil {
		return "", fmt.Errorf("write %s: it is there already; wait a second", name)
	}
	return name, writeFile(name, func(w io.Writer) error { return rec.Write(w) })
}

// close unloads everything. A look that is under way is not waited for: the kernel takes the programs away with the process.
func (h *screenHost) close() error {
	if !h.mu.TryLock() {
		return nil
	}
	defer h.mu.Unlock()
	h.over = true
	return h.watcher.Close()
}

// show shows the screen until somebody leaves it.
func (f *topFlags) show(ctx context.Context, stop <-chan struct{}, w *live.Watcher, view report.Options) error {
	h := &screenHost{watcher: w, ticks: top.NewTicker(view.By, view.Sort), interval: f.interval,
		asked: screen.Ask{By: view.By, Filter: f.Choice.Filter}}
	name, err := os.Hostname()
	if err != nil {
		name = "this host"
	}
	err = screen.Run(ctx, h, screen.Options{By: view.By, Sort: view.Sort, Filter: f.Choice.Filter, Name: name, Stop: stop})
	return errors.Join(err, h.close())
}
