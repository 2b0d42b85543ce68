package load

import (
	"slices"

	"github.com/connprof/connprof/internal/kernel"
)

// Holds tells whether the payload is to lie unread in the receive queue of a role's end.
func (s Scenario) Holds(role kernel.Role) bool {
	other := map[kernel.Role]kernel.Role{kernel.RoleClient: kernel.RoleServer, kernel.RoleServer: kernel.RoleClient}[role]
	return slices.ContainsFunc(s.steps, func(step scenarioStep) bool { return step.do.sends() && step.who == other })
}

// sends tells whether an action brings the payload to the other end.
func (a action) sends() bool { return a == sendPayload || a == sendFile }

// backlog is what the listener on one of the ports gets. The kernel takes one connection more into an accept queue than its backlog
// says (sk_acceptq_is_full). Where none is accepted, a queue is full with those that come to its port; a backlog of 0 would have the
// kernel answer with SYN cookies.
func (s Scenario) backlog(c Config, port int) int {
	if !s.unaccepted {
		return c.Backlog
	}
	return min(c.Backlog, max(1, c.comeTo(port)-1))
}

// comeTo is how many connections are for one of the ports, as tuples deals them out.
func (c Config) comeTo(port int) int {
	round := len(c.Clients) * len(c.Ports)
	return c.Connections/round*len(c.Clients) + min(max(c.Connections%round-port*len(c.Clients), 0), len(c.Clients))
}

// FillsAcceptQueues tells whether each listener is to have as many connections in its accept queue as the kernel puts there.
func (s Scenario) FillsAcceptQueues() bool { return s.unaccepted }

// Fills tells whether both ends send until the kernel takes no more.
func (s Scenario) Fills() bool { return s.does(fillQueues) }

func (s Scenario) does(do action) bool {
	return slices.ContainsFunc(s.steps, func(step scenarioStep) bool { return step.do == do })
}

// mostFilled is how many connections are filled where all scenarios are run: each takes a hundred times what an idle one does.
const mostFilled = 200

// AmongAll is how many of so many connections are opened in the scenario where all scenarios are run.
func (s Scenario) AmongAll(conns int) int {
	if s.Fills() {
		return min(conns, mostFilled)
	}
	return conns
}

// Queues tells whether the scenario leaves data in queues.
func (s Scenario) Queues() bool { return s.Sends || s.Fills() }
