package check

import (
	"errors"
	"fmt"
	"slices"

	"github.com/connprof/connprof/internal/recording"
)

// OnlyTCPs are caches in which nothing but TCP has objects, where SLUB has not merged them with others.
var OnlyTCPs = map[string]bool{"TCP": true, "TCPv6": true, "tw_sock_TCP": true, "tw_sock_TCPv6": true, "request_sock_TCP": true,
	"request_sock_TCPv6": true}

// Closed holds that all connections were closed, and that there was a look at each moment.
func Closed(m *recording.Machine, conns, moments int) error {
	s := m.Stays
	switch {
	case s == nil:
		return errors.New("nothing is told of what stays")
	case s.Closed != conns || len(s.Moments) != moments || s.CloseSeconds <= 0 || s.Idle.Readings < 2 || s.Idle.Seconds <= 0:
		return fmt.Errorf("%d closed in %g s, %d moments, watched for %+v; want %d and %d moments", s.Closed, s.CloseSeconds,
			len(s.Moments), s.Idle, conns, moments)
	}
	var errs []error
	for i, at := range s.Moments {
		if at.AfterRCU != (i > 0) || at.Seconds < 0 || i > 0 && at.Seconds <= s.Moments[i-1].Seconds {
			errs = append(errs, fmt.Errorf("moment %d: %+v", i, at))
		}
	}
	return errors.Join(errs...)
}

// TimeWait holds that each connection has left one socket in TIME_WAIT, which is apart from what stays.
func TimeWait(m *recording.Machine, conns int) error {
	last := len(m.Stays.Moments) - 1
	if at := m.Stays.Moments[last]; at.TimeWait != conns || at.Others != 0 {
		return fmt.Errorf("at the end %d are in TIME_WAIT and %d in another state, want %d and none", at.TimeWait, at.Others, conns)
	}
	i := slices.IndexFunc(m.Stays.Caches, func(c recording.StayCache) bool { return slices.Contains(c.Types, "tcp_timewait_sock") })
	if i < 0 {
		return fmt.Errorf("no cache has timewait socks: %+v", m.Stays.Caches)
	}
	if n := m.Stays.Caches[i].InSockets[last]; n != int64(conns) {
		return fmt.Errorf("the sockets hold %d timewait socks, want %d", n, conns)
	}
	return nil
}

// Stays holds that of the chosen caches none has more objects than before, by more than its error and one for a hundred connections.
func Stays(m *recording.Machine, chosen func(*recording.StayCache) bool) error {
	var errs []error
	looked := 0
	for i := range m.Stays.Caches {
		c := &m.Stays.Caches[i]
		last := len(c.Left) - 1
		if !chosen(c) || last < 0 {
			continue
		}
		looked++
		if bound := c.Errors[last] + int64(m.Stays.Closed/recording.PerHundred); c.Left[last] > bound {
			errs = append(errs, fmt.Errorf("%s has %d objects more than before %d connections, at most %d may stay: %+v", c.Cache,
				c.Left[last], m.Stays.Closed, bound, c))
		}
	}
	if looked == 0 {
		errs = append(errs, fmt.Errorf("none of the caches is among %+v", m.Stays.Caches))
	}
	return errors.Join(errs...)
}

// Cycles holds that the connections were opened and closed that often, and that of the chosen caches none has grown, by more than its
// error and one object for a hundred connections of a cycle.
func Cycles(m *recording.Machine, cycles, conns int, chosen func(*recording.StayCache) bool) error {
	c := m.Cycles
	if c == nil || len(c.Each) != cycles-1 || c.Closed != (cycles-1)*conns || c.Idle.Readings < 2 {
		return fmt.Errorf("want %d cycles of %d connections, got %+v", cycles, conns, c)
	}
	for _, each := range c.Each {
		if each.Closed != conns || each.Failed != 0 {
			return fmt.Errorf("%+v, want %d closed and none failed", each, conns)
		}
	}
	one := *m
	one.Stays = &recording.Stays{Closed: conns, Caches: c.Caches}
	return Stays(&one, chosen)
}
