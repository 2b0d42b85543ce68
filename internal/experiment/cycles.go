package experiment

import (
	"context"
	"fmt"
	"time"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
)

// mostCycles bounds how often the connections are opened.
const mostCycles = 1000

func checkCycles(o *Options) error {
	s, _ := load.FindScenario(o.Scenario)
	switch {
	case o.Cycles == 0:
		return nil
	case o.Cycles < 2 || o.Cycles > mostCycles:
		return Invalid("cycles", o.Cycles, "want 2 to %d; the first fills caches that are filled once, and the others are held against it", mostCycles)
	case len(o.AfterClose) > 0:
		return Invalid("cycles", o.Cycles, "it closes the connections in its own way; leave out --after-close")
	case s.Lasts > 0:
		return Invalid("cycles", o.Cycles, "scenario %s leaves sockets that the kernel keeps for %v; want another --scenario, such as idle",
			o.Scenario, s.Lasts)
	}
	return checkClosing("cycles", o)
}

// Bounds of how long the host is watched without connections: about as long as the cycles after the first will take.
const (
	leastWatch = 5 * time.Second
	mostWatch  = time.Minute
)

// cycles are the times after the first.
type cycles struct {
	account.Stays
	each []recording.Cycle
}

// repeat opens and closes the connections again and again, by load processes that are made anew each time, and writes down what slab
// memory grew by. The first time is the run itself. Who stops the run, and a limit that is reached, end it after a whole cycle.
func (s *Stage) repeat(ctx context.Context, first *Watch) error {
	o := &s.plan.Options
	p, ok := s.profile.(profiled)
	if !ok || o.Cycles == 0 || first.interrupt != "" || ctx.Err() != nil {
		return nil
	}
	s.engine.End()
	expected := time.Duration(s.machine.Load.ConnectSeconds * float64(o.Cycles-1) * float64(time.Second))
	span := min(max(expected, leastWatch), mostWatch)
	s.tell(fmt.Sprintf("closed the connections; watching slab memory for %v without any: by how much does it change by itself?",
		span.Round(time.Second)))
	var c cycles
	var err error
	if c.Idle, err = p.watch(ctx, o.Stop, span); err != nil || len(c.Idle) == 0 {
		return err
	}
	if c.Before, err = p.StockAfterRCU(); err != nil {
		return err
	}
	dying, told := kernel.DyingCgroups()
	for n := 2; n <= o.Cycles && !stopped(ctx, o.Stop); n++ {
		s.tell(fmt.Sprintf("cycle %d of %d", n, o.Cycles))
		why, err := s.cycle(ctx, p, &c)
		if err != nil {
			return fmt.Errorf("cycle %d of %d: %w", n, o.Cycles, err)
		}
		if why != "" {
			s.note(fmt.Sprintf("cycle %d of %d was the last: %s", n, o.Cycles, why))
			break
		}
	}
	return s.fillCycles(p, &c, dying, told)
}

func stopped(ctx context.Context, stop <-chan struct{}) bool {
	select {
	case <-ctx.Done():
	case <-stop:
	default:
		return false
	}
	return true
}

// cycle opens the connections, brings them into their scenario, closes them, and takes stock. It says why there are to be no more.
func (s *Stage) cycle(ctx context.Context, p profiled, c *cycles) (why string, err error) {
	if err := s.startLoad(); err != nil {
		return "", err
	}
	defer func() { s.engine.End() }()
	if err := s.engine.Begin(); err != nil {
		return "", err
	}
	watch := s.Watch(func(*load.Engine) string { return "" })
	if err := ramp(ctx, s, watch); err != nil {
		return "", err
	}
	for step := range s.plan.Scenario.Steps() {
		if err := s.Act(step); err != nil {
			return "", err
		}
	}
	up := s.engine.Progress()
	s.engine.End()
	stock, err := p.StockAfterRCU()
	if err != nil {
		return "", err
	}
	c.Moments = append(c.Moments, stock)
	c.Closed += up.Up()
	c.each = append(c.each, recording.Cycle{Closed: up.Up(), Failed: up.Failed})
	return watch.interrupt, nil
}

// fillCycles writes down what has grown.
func (s *Stage) fillCycles(p profiled, c *cycles, dying int64, told bool) error {
	n := len(c.Moments)
	if n == 0 {
		return nil // stopped before
	}
	caches, err := p.StayCaches(c.Moments[n-1].Slabs)
	if err != nil {
		return err
	}
	c.Last = c.Before.At
	grown := c.Fill(caches)
	for i, m := range grown.Moments {
		c.each[i].Seconds, c.each[i].SlabBytes, c.each[i].ErrorBytes = m.Seconds, m.SlabBytes, m.ErrorBytes
	}
	s.machine.Cycles = &recording.Cycles{Closed: c.Closed, Idle: grown.Idle, Each: c.each, Caches: grown.Caches}
	if now, ok := kernel.DyingCgroups(); ok && told {
		now -= dying
		s.machine.Cycles.DyingCgroups = &now
	}
	s.noteStays(p)
	return nil
}
