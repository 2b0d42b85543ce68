package experiment

import (
	"fmt"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
)

// noteQueues writes down what the walk finds in the queues of the ends here. A connection is in a scenario that leaves data unread
// when the walk finds all of it in the receiver's queue, whatever the sender was told.
func (p profiled) noteQueues(s *Stage) error {
	in, l, o := s.plan.Scenario, s.machine.Load, &s.plan.Options
	if !in.Queues() {
		return nil
	}
	found, err := p.Queues(arrived(in, o))
	if err != nil {
		return err
	}
	for _, role := range []kernel.Role{kernel.RoleClient, kernel.RoleServer} {
		q := found[role]
		l.UnreadBytes += q.Unread
		l.UnackedBytes += q.Unacked
		if short := q.Short - s.stuck(); short > 0 {
			l.Failures = append(l.Failures, recording.Failure{Step: recording.StepScenario, Count: short,
				Error: fmt.Sprintf("the walk finds %s of the %s's end", lack(in, o), role)})
		}
	}
	if q := found[kernel.RoleListener]; in.FillsAcceptQueues() && q.Open > 0 {
		s.note(fmt.Sprintf("%d of %d accept queues are not full: fewer connections came to them than was planned at first", q.Open, q.Ends))
	}
	return nil
}

// fitBacklog holds connections that nobody accepts against the accept queues of the run's own network, whose length cannot be set where
// /proc/sys is read-only.
func (s *Stage) fitBacklog() error {
	p, backlog := s.plan, s.network.Backlog
	if most := backlog * p.Options.Ports; !p.Scenario.Accepted() && p.Conns > most {
		return fmt.Errorf("scenario %s: nobody accepts %d connections, and the accept queues hold %d (net.core.somaxconn is %d here and "+
			"cannot be set); lower --conns to %d, raise --ports, or make /proc/sys writable", p.Scenario.Name, p.Conns, most, backlog, most)
	}
	return nil
}

// arrived tells of an end of a role whether its queues are as the scenario wants them. A send queue is full once the kernel has as
// much in it as the buffer has bytes (sk_stream_memory_free).
func arrived(in load.Scenario, o *Options) func(kernel.Role, *kernel.Endpoint) bool {
	_, send := o.buffers()
	return func(role kernel.Role, e *kernel.Endpoint) bool {
		switch {
		case role == kernel.RoleListener:
			return true
		case in.Fills():
			return e.UnreadData() > 0 && e.Buffers.Wmem >= uint32(send)
		}
		return !in.Holds(role) || e.UnreadData() >= uint32(o.Payload)
	}
}

// lack is what the walk finds of an end that has not arrived.
func lack(in load.Scenario, o *Options) string {
	if in.Fills() {
		return "a queue that is not full"
	}
	return fmt.Sprintf("fewer than %d bytes in the receive queue", o.Payload)
}

// stuck is how many connections the load engine knows of that are not in the scenario.
func (s *Stage) stuck() (n int) {
	for _, u := range s.unarranged {
		n += u.Left
	}
	return n
}
