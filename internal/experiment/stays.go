package experiment

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/measure"
	"github.com/connprof/connprof/load"
)

// StayMoments are when slab memory is looked at after the last close, unless others are asked for.
var StayMoments = []time.Duration{0, time.Second, 10 * time.Second, time.Minute}

// mostStay and mostMoments bound the moments: what RCU and timers hold is gone long before, and a table has a column for each.
const (
	mostStay    = time.Hour
	mostMoments = 8
)

const (
	// idleStep is how far apart the host is looked at while it has no connections.
	idleStep = 5 * time.Second
	// leastReadings is how often it is looked at all the same where the time is short.
	leastReadings = 4
	// timeWaitOver is when the kernel has ended all that was in TIME_WAIT: after 60 s, and what its timers are late by.
	timeWaitOver = 75 * time.Second
)

// checkAfterClose wants moments that can be waited for, and a scenario whose connections are there to be closed.
func checkAfterClose(o *Options) error {
	if len(o.AfterClose) == 0 {
		return nil
	}
	if len(o.AfterClose) > mostMoments {
		return Invalid("after-close", durations(o.AfterClose), "want at most %d times", mostMoments)
	}
	for i, at := range o.AfterClose {
		if at < 0 || at > mostStay || i > 0 && at <= o.AfterClose[i-1] {
			return Invalid("after-close", durations(o.AfterClose), "want times from 0s to %v, each later than the one before", mostStay)
		}
	}
	return checkClosing("after-close", o)
}

// checkClosing refuses, for a flag, what leaves nothing to close or nothing to look at it with.
func checkClosing(flag string, o *Options) error {
	s, _ := load.FindScenario(o.Scenario)
	switch {
	case o.NoProfile:
		return Invalid(flag, nil, "it holds slab memory against the sockets that are found; leave out --no-profile")
	case o.ThreadPerConnection:
		return Invalid(flag, nil, "the threads of --threads-per-connection end with their connections, and are slab memory, too; leave one of them out")
	case !s.ClosesAll():
		return Invalid(flag, nil, "scenario %s leaves no connection that both ends have; want another --scenario, such as idle", o.Scenario)
	}
	return nil
}

func durations(list []time.Duration) Word {
	var texts []string
	for _, d := range list {
		texts = append(texts, d.String())
	}
	return Word(strings.Join(texts, ","))
}

// stays is what slab memory is held against once the connections are closed.
type stays struct {
	profiled
	account.Stays
}

// watchIdle looks at the host without connections for as long as it will be looked at after the close. The first reading is thrown
// away: it fills caches itself, with the files that it reads. Who stops the run ends the watch.
func (s *Stage) watchIdle(ctx context.Context) error {
	o := &s.plan.Options
	p, ok := s.profile.(profiled)
	if !ok || len(o.AfterClose) == 0 {
		return nil
	}
	span := max(o.AfterClose[len(o.AfterClose)-1], idleStep)
	s.tell(fmt.Sprintf("watching slab memory for %v without connections: by how much does it change by itself?", span))
	s.stays = &stays{profiled: p}
	var err error
	s.stays.Idle, err = p.watch(ctx, o.Stop, span)
	return err
}

// watch takes stock again and again for a span of time, or until stop.
func (p profiled) watch(ctx context.Context, stop <-chan struct{}, span time.Duration) ([]account.Stock, error) {
	if _, err := p.StockAfterRCU(); err != nil {
		return nil, err
	}
	var list []account.Stock
	begun, step := time.Now(), min(idleStep, span/(leastReadings-1))
	for i := 0; ; i++ {
		if !pause(ctx, stop, time.Until(begun.Add(time.Duration(i)*step))) {
			return list, nil
		}
		stock, err := p.Stock()
		if err != nil {
			return nil, err
		}
		list = append(list, stock)
		if time.Duration(i)*step >= span {
			return list, nil
		}
	}
}

// pause waits for some time, and tells whether nothing came between.
func pause(ctx context.Context, stop <-chan struct{}, wait time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-stop:
		return false
	case <-time.After(wait):
		return true
	}
}

// takeStock is the last look before the first connection.
func (s *Stage) takeStock() (err error) {
	if s.stays != nil {
		s.stays.Before, err = s.stays.StockAfterRCU()
	}
	return err
}

// afterClose closes the connections, looks at slab memory at the moments asked for, and writes down what has stayed. Who stops the run
// ends the wait for further moments.
func (s *Stage) afterClose(ctx context.Context) error {
	if s.stays == nil || ctx.Err() != nil {
		return nil
	}
	s.stays.Closed = s.machine.Load.Established - s.machine.Load.LostInHold
	begun := time.Now()
	if err := s.engine.CloseConnections(arrangeTimeout); err != nil {
		return fmt.Errorf("after the account: %w", err)
	}
	s.stays.Last = time.Now()
	s.stays.Took = s.stays.Last.Sub(begun)
	moments := s.plan.Options.AfterClose
	s.tell(fmt.Sprintf("closed %d connections in %.1f s; looking at what stays for %v", s.stays.Closed, s.stays.Took.Seconds(),
		moments[len(moments)-1]))
	if err := s.look(ctx, moments); err != nil {
		return err
	}
	return s.fillStays()
}

// look takes stock at each moment: at 0 s at once and then again once RCU is done, at all others once it is. Where the last moment
// finds sockets in TIME_WAIT that are about to end, there is one more when they have.
func (s *Stage) look(ctx context.Context, moments []time.Duration) error {
	o, last := &s.plan.Options, s.stays.Last
	take := func(stock func() (account.Stock, error)) error {
		taken, err := stock()
		s.stays.Moments = append(s.stays.Moments, taken)
		return err
	}
	for i, at := range moments {
		if at > 0 && !pause(ctx, o.Stop, time.Until(last.Add(at))) {
			break
		}
		if i == 0 && at == 0 { // who stops the run has these looks all the same
			if err := take(s.stays.StockAtOnce); err != nil {
				return err
			}
		}
		if err := take(s.stays.StockAfterRCU); err != nil {
			return err
		}
	}
	if n := len(s.stays.Moments); n == 0 || moments[len(moments)-1] < timeWait || s.stays.Moments[n-1].Then.TimeWait == 0 {
		return nil
	}
	for time.Since(last) < timeWaitOver {
		if !pause(ctx, o.Stop, time.Second) {
			return nil
		}
		ends, err := s.stays.Count()
		if err != nil {
			return err
		}
		if timeWaits(ends) == 0 {
			break
		}
	}
	return take(s.stays.StockAfterRCU)
}

// timeWait is TCP_TIMEWAIT_LEN.
const timeWait = time.Minute

func timeWaits(ends map[measure.End]int) (n int) {
	for end, count := range ends {
		if end.State == kernel.StateTimeWait.String() {
			n += count
		}
	}
	return n
}

func (s *Stage) fillStays() error {
	n := len(s.stays.Moments)
	if n == 0 {
		return nil // interrupted before the first
	}
	caches, err := s.stays.StayCaches(s.stays.Moments[n-1].Slabs)
	if err != nil {
		return err
	}
	s.machine.Stays = s.stays.Fill(caches)
	s.noteStays(s.stays.profiled)
	return nil
}

// noteStays writes down what the figures of what stays lack.
func (s *Stage) noteStays(p profiled) {
	if err := p.CountsOthers(); err != nil {
		s.note(fmt.Sprintf("other sockets of this host are among what stays: they could not be counted: %v", err))
	}
	if err := p.Unsettled(); err != nil {
		s.note(fmt.Sprintf("objects that stay are counted with free places that lie with the CPUs: %v", err))
	}
	if err := kernel.AwaitRCU(); err != nil {
		s.note(fmt.Sprintf("what RCU frees late may be among what stays: %v", err))
	}
}

// tell says what a run is waiting for, where that takes long.
func (s *Stage) tell(text string) {
	if told := s.plan.Options.Told; told != nil {
		told(text)
	}
}
