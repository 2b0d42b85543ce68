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
	in, l := s.plan.Scenario, s.machine.Load
	if !in.Sends {
		return nil
	}
	payload := uint32(s.plan.Options.Payload)
	found, err := p.Queues(arrived(in, payload))
	if err != nil {
		return err
	}
	l.PayloadBytes = uint64(payload)
	for _, role := range []kernel.Role{kernel.RoleClient, kernel.RoleServer} {
		q := found[role]
		l.UnreadBytes += q.Unread
		l.UnackedBytes += q.Unacked
		if short := q.Short - s.stuck(); short > 0 {
			l.Failures = append(l.Failures, recording.Failure{Step: recording.StepScenario, Count: short,
				Error: fmt.Sprintf("the walk finds fewer than %d bytes in the %s's receive queue", payload, role)})
		}
	}
	if q := found[kernel.RoleListener]; in.FillsAcceptQueues() && q.Open > 0 {
		s.note(fmt.Sprintf("%d of %d accept queues are not full: fewer connections came to them than was planned at first", q.Open, q.Ends))
	}
	return nil
}

// arrived tells of an end of a role whether its queues are as the scenario wants them.
func arrived(in load.Scenario, payload uint32) func(kernel.Role, *kernel.Endpoint) bool {
	return func(role kernel.Role, e *kernel.Endpoint) bool { return !in.Holds(role) || e.UnreadData() >= payload }
}

// stuck is how many connections the load engine knows of that are not in the scenario.
func (s *Stage) stuck() (n int) {
	for _, u := range s.unarranged {
		n += u.Left
	}
	return n
}
