package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	// patience is how long a run waits for the reader of a stream before it goes on, with the connections still open.
	patience = time.Second
	// lastPatience is how long a run that was told to stop waits once its connections are closed.
	lastPatience = 5 * time.Second
)

// delivery writes results. Whoever reads a stream may do so later, or never: that is waited for only when the connections are
// closed.
type delivery struct {
	mu      sync.Mutex
	pending []*pending
}

type pending struct {
	name string
	done chan struct{}
	err  error // valid once done is closed
}

// write writes a file at once. What is for a stream is made at once and written beside the run.
func (d *delivery) write(o *output, write func(io.Writer) error) error {
	if o.stream == nil {
		return o.write(write)
	}
	var text bytes.Buffer
	if err := write(&text); err != nil {
		return fmt.Errorf("write %s: %w", o.name, err)
	}
	return d.start(o, &text)
}

// start begins to write to a stream. The error is there where it ends soon.
func (d *delivery) start(o *output, from io.Reader) error {
	p := &pending{name: o.name, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = o.write(func(w io.Writer) error {
			_, err := io.Copy(w, from)
			return err
		})
		o.close() // its reader waits for the end
	}()
	select {
	case <-p.done:
		return p.err
	case <-time.After(patience):
		d.mu.Lock()
		defer d.mu.Unlock()
		d.pending = append(d.pending, p)
		return nil
	}
}

// waitsFor is whether a stream's reader has not taken all yet.
func (d *delivery) waitsFor(o *output) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.pending, func(p *pending) bool { return p.name == o.name })
}

// wait waits for all readers. Once the run was told to stop it does not wait long, and at the end of the context not at all.
func (d *delivery) wait(ctx context.Context, stop <-chan struct{}) error {
	var errs []error
	var late <-chan time.Time
	for _, p := range d.pending {
		for waiting := true; waiting; {
			select {
			case <-p.done:
				errs, waiting = append(errs, p.err), false
			case <-stop:
				stop, late = nil, time.After(lastPatience)
			case <-late:
				return errors.Join(append(errs, errUnread(p.name))...)
			case <-ctx.Done():
				return errors.Join(append(errs, errUnread(p.name))...)
			}
		}
	}
	return errors.Join(errs...)
}

func errUnread(name string) error {
	return fmt.Errorf("write %s: its reader does not read; it has not got all", name)
}

// rows is where a walk lists the endpoints. It takes all that is written, whatever becomes of it: a full disk is no reason to
// lose the recording.
type rows struct {
	to  io.Writer
	err error
}

func (r *rows) Write(b []byte) (int, error) {
	if r.err == nil {
		_, r.err = r.to.Write(b)
	}
	return len(b), nil
}

// spool is a file without a name, for what a stream is given later.
func spool() (*os.File, error) {
	f, err := os.CreateTemp("", "connprof-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}
