package load

import (
	"context"
	"syscall"
	"time"

	"github.com/connprof/connprof/internal/kernel"
)

// What a process gets before the next, harder word: 10 s at the most for both, with the end of the sockets on top. How long the
// kernel takes to close those, 20 s for two million, is its own affair.
const (
	// hastenTime is how long the connecting end may be told how to close without getting any further.
	hastenTime = 2 * time.Second
	// endGrace is how long a process may take to do as it was told, termGrace what SIGTERM gives it.
	endGrace  = 3 * time.Second
	termGrace = time.Second
	// abortGrace is how long the kernel may close sockets while somebody waits who wants an end at once.
	abortGrace = 2 * time.Second
)

// End ends both processes and waits until the kernel has closed their sockets. One that somebody has stopped is woken, and one
// that does not obey is killed.
func (e *Engine) End() {
	if (e.end != kernel.RoleBoth || e.served) && e.shared != nil {
		e.CloseOnPurpose()
	}
	for _, p := range e.workers {
		p.signal(syscall.SIGCONT)
	}
	e.hasten()
	for _, p := range e.workers {
		p.tellToEnd()
	}
	for _, p := range e.workers {
		p.end(e.abort)
	}
	e.workers = nil
	if e.shared != nil {
		e.final = e.Progress()
		e.shared.unmap()
		e.memory.Close()
		e.shared = nil
	}
}

// hasten has the connecting end close by resets: the accepted ends are then gone as well, without a FIN and an ACK each
// way. The accepting end sleeps meanwhile, for it would be woken for each.
func (e *Engine) hasten() {
	if len(e.workers) < 2 || e.shared == nil || !e.connects {
		return
	}
	server, client := e.workers[0], e.workers[1]
	server.signal(syscall.SIGSTOP)
	defer server.signal(syscall.SIGCONT)
	e.shared.stop.Store(1)
	e.shared.closing.Store(1)
	want := e.shared.acted.Load() + e.shared.established.Load()
	if _, err := client.control.Write([]byte{commandAct, byte(resetOnClose)}); err != nil {
		return
	}
	last, moved := int64(0), time.Now()
	for now := e.shared.acted.Load(); now < want && time.Since(moved) < hastenTime; now = e.shared.acted.Load() {
		if now != last {
			last, moved = now, time.Now()
		}
		if client.endsWithin(time.Millisecond) {
			return
		}
	}
	client.tellToEnd()
	client.end(e.abort)
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// tellToEnd is for a process that listens. One that has ended needs no telling.
func (p *process) tellToEnd() {
	_, _ = p.control.Write([]byte{commandEnd})
	p.control.Close()
}

// end waits for the end of a process that was told to, and makes it. A stopped one acts on SIGTERM once it is continued.
func (p *process) end(abort context.Context) {
	for _, step := range []struct {
		grace   time.Duration
		signals []syscall.Signal
	}{
		{endGrace, []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT}},
		{termGrace, []syscall.Signal{syscall.SIGKILL}},
	} {
		select {
		case <-p.done:
			return
		case <-abort.Done(): // which has it killed
		case <-time.After(step.grace):
			for _, s := range step.signals {
				p.signal(s)
			}
		}
	}
	select {
	case <-p.done:
	case <-abort.Done():
		p.endsWithin(abortGrace)
	}
}

func (p *process) endsWithin(limit time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(limit):
		return false
	}
}
