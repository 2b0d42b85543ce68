package loader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

// Handler takes what the probes report. Its methods are called one after the other from the draining goroutine.
type Handler interface {
	Opened(kernel.EndpointEvent)
	Accepted(kernel.EndpointEvent)
	Closed(kernel.EndpointEvent)
	Failed(kernel.EndpointEvent) // destroyed without ever having come up
	Sampled(kernel.StackSample)
}

// idle is how long a few events may wait in the ring: producers wake the reader only when much has gathered.
const idle = 50 * time.Millisecond

// DrainDelay is how long an event may take from the probe to the handler.
const DrainDelay = 2 * idle

// Drain hands every event to h until ctx ends, then what is still in the ring, and returns nil. Without a
// hook that reports events it is a *NotLoadedError.
func (p *Probes) Drain(ctx context.Context, h Handler) error {
	if p.reader == nil {
		return &NotLoadedError{kernel.HookState}
	}
	var rec ringbuf.Record
	last := false
	p.reader.SetDeadline(time.Now().Add(idle))
	for {
		err := p.reader.ReadInto(&rec)
		switch {
		case err == nil:
			if err := dispatch(rec.RawSample, h); err != nil {
				return err
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			if last {
				return nil
			}
			// What was written between the last look at the ring and the end of ctx takes one more look.
			last = ctx.Err() != nil
			p.reader.SetDeadline(time.Now().Add(idle))
		default:
			return fmt.Errorf("read the event ring: %w", err)
		}
	}
}

const (
	endpointEventBytes = int(unsafe.Sizeof(bpf.StateEndpointEvent{}))
	stackEventBytes    = int(unsafe.Sizeof(bpf.SlabStackEvent{}))
)

// dispatch turns one record into a call of h. The ring's records are 8-byte aligned, so a cast is safe.
func dispatch(raw []byte, h Handler) error {
	if len(raw) < endpointEventBytes {
		return fmt.Errorf("event of %d bytes, want at least %d: program and loader do not fit", len(raw), endpointEventBytes)
	}
	e := (*bpf.StateEndpointEvent)(unsafe.Pointer(unsafe.SliceData(raw)))
	if e.Kind == bpf.StateEventKindEVENT_STACK {
		return dispatchStack(raw, h)
	}
	event := kernel.EndpointEvent{Nanoseconds: e.Nanoseconds, Sock: e.Sk, PID: e.Pid, Role: kernel.Role(e.Role)}
	switch e.Kind {
	case bpf.StateEventKindEVENT_OPEN:
		h.Opened(event)
	case bpf.StateEventKindEVENT_ACCEPT:
		h.Accepted(event)
	case bpf.StateEventKindEVENT_CLOSE:
		h.Closed(event)
	case bpf.StateEventKindEVENT_FAIL:
		h.Failed(event)
	default:
		return fmt.Errorf("event of unknown kind %d: program and loader do not fit", e.Kind)
	}
	return nil
}

func dispatchStack(raw []byte, h Handler) error {
	if len(raw) < stackEventBytes {
		return fmt.Errorf("stack event of %d bytes, want %d: program and loader do not fit", len(raw), stackEventBytes)
	}
	e := (*bpf.SlabStackEvent)(unsafe.Pointer(unsafe.SliceData(raw)))
	h.Sampled(kernel.StackSample{CallSite: e.CallSite, Cache: e.Cache, Weight: e.Weight, Role: kernel.Role(e.Role),
		Atomic: e.Atomic != 0, Frames: e.Frames[:min(int(e.Depth), len(e.Frames))]})
	return nil
}
