package load

import (
	"slices"

	"github.com/connprof/connprof/internal/kernel"
)

// Holds tells whether the payload is to lie unread in the receive queue of a role's end.
func (s Scenario) Holds(role kernel.Role) bool {
	return slices.ContainsFunc(s.steps, func(step scenarioStep) bool { return step.do.sends() && step.who != role })
}

// sends tells whether an action brings the payload to the other end.
func (a action) sends() bool { return a == sendPayload }
