package live

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/loader"
)

// Counts is what was opened and closed since Watcher.Count. An end of a connection that is opened by connect() counts from there on,
// one that is accepted from its handshake on.
type Counts struct {
	Elapsed time.Duration
	// Opened, Closed and Failed are ends of connections. Those that failed are among the closed ones, and so are those that were open
	// before the counting began.
	Opened, Closed, Failed uint64
	// Errors is why connections failed.
	Errors [kernel.OpenErrors]uint64
	// Lifetimes is a histogram of the ends that were opened and closed meanwhile, in the steps of kernel.Lifetimes.
	Lifetimes [kernel.LifetimeSteps]uint64
	// Processes is what each has opened and accepted, by PID, as long as it runs or anything of it is open. What nobody was seen to
	// accept is that of the process which listened there in the last look: all of it where accept() cannot be hooked, and else what
	// waits. Of several processes that listen at one port it is one's.
	Processes map[int]ProcessCount
	// Arrived is what came in at each port that is listened at, whoever accepted it.
	Arrived map[ListenerPlace]uint64
	// Lost is how many opens found no place in the programs' maps: they are in no other figure.
	Lost uint64
	// Skipped is how many runs of programs the kernel has left out, by its own count: what happened then is in no figure.
	Skipped uint64
}

// ProcessCount is the ends of connections that one process has opened, and what of that is closed.
type ProcessCount struct {
	Comm                   string
	Opened, Closed, Failed uint64
}

// ListenerPlace is a port of a network namespace.
type ListenerPlace struct {
	Netns uint32
	Port  uint16
}

// counting is what counts while it is wanted.
type counting struct {
	probes *loader.Probes
	begun  time.Time
	// retired is the sum of the rows that were taken off the programs' map.
	retired sums
}

// sums is what rows add to, whosever they are.
type sums struct {
	errors    [kernel.OpenErrors]uint64
	lifetimes [kernel.LifetimeSteps]uint64
}

func (s *sums) add(c *kernel.OpenerCounts) {
	for i, n := range c.Errors {
		s.errors[i] += uint64(n)
	}
	for i, n := range c.Lifetimes {
		s.lifetimes[i] += uint64(n)
	}
}

// Count has what is opened and closed counted from now on: it attaches the hooks for that. It does nothing where they are attached.
func (w *Watcher) Count() error {
	if w.counting != nil {
		return nil
	}
	probes, err := w.options.load(&loader.Opens{})
	if err != nil {
		return err
	}
	if err := probes.StartOpens(); err != nil {
		return errors.Join(err, probes.Close())
	}
	w.counting = &counting{probes: probes, begun: time.Now()}
	return nil
}

// StopCounting detaches the hooks.
func (w *Watcher) StopCounting() error {
	if w.counting == nil {
		return nil
	}
	c := w.counting
	w.counting = nil
	return c.probes.Close()
}

// Counting tells whether the hooks are attached.
func (w *Watcher) Counting() bool { return w.counting != nil }

// ErrNotCounting says that Counts was called before Count.
var ErrNotCounting = errors.New("nothing is counted")

// Counts reads what has been counted so far, and takes what will not change any more off the programs' maps: their size depends on what
// runs and is open, and not on how long they count.
func (w *Watcher) Counts() (*Counts, error) {
	if w.counting == nil {
		return nil, ErrNotCounting
	}
	p := w.counting.probes
	total, err := p.OpenCounters()
	if err != nil {
		return nil, err
	}
	programs, err := p.Counters()
	if err != nil {
		return nil, err
	}
	c := &Counts{Elapsed: time.Since(w.counting.begun), Opened: total.Opened, Closed: total.Closed + total.ClosedBefore,
		Failed: total.Failed, Lost: total.MapFull + total.RowsFull, Skipped: programs.RecursionMisses, Processes: map[int]ProcessCount{}, Arrived: map[ListenerPlace]uint64{}}
	type ended struct {
		id  kernel.OpenerID
		row kernel.OpenerCounts
	}
	var over []ended
	now := w.counting.retired
	err = p.Openers(func(id kernel.OpenerID, row *kernel.OpenerCounts) {
		now.add(row)
		if w.over(id, row) {
			over = append(over, ended{id, *row})
			return
		}
		pid := int(row.PID)
		if netns, port, is := id.Listener(); is {
			c.Arrived[ListenerPlace{netns, port}] += row.Arrived
			pid = w.listening[place{netns, port}]
		}
		if pid == 0 {
			return
		}
		n := c.Processes[pid]
		if row.Comm != "" {
			n.Comm = row.Comm
		}
		n.Opened += row.Opened
		n.Closed += row.Closed
		n.Failed += row.Failed
		c.Processes[pid] = n
	})
	if err != nil {
		return nil, err
	}
	c.Errors, c.Lifetimes = now.errors, now.lifetimes
	for i := range over {
		if err := p.ForgetOpener(over[i].id); err != nil {
			return nil, err
		}
		w.counting.retired.add(&over[i].row)
	}
	return c, nil
}

// over tells whether nothing will be counted for an opener any more.
func (w *Watcher) over(id kernel.OpenerID, row *kernel.OpenerCounts) bool {
	if row.Opened != row.Closed {
		return false
	}
	if netns, port, is := id.Listener(); is {
		_, listening := w.listening[place{netns, port}]
		return !listening && w.listening != nil
	}
	return row.PID != 0 && errors.Is(unix.Kill(int(row.PID), 0), unix.ESRCH)
}
