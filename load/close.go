package load

import (
	"errors"
	"fmt"
	"time"

	"github.com/connprof/connprof/internal/kernel"
)

// CloseConnections has each end close its connections, the connecting end first, and leaves the processes as they were before the
// first: with their listeners and tables of files. It returns when all are closed. One that somebody has closed before is no error.
func (e *Engine) CloseConnections(timeout time.Duration) error {
	e.CloseOnPurpose()
	for _, role := range []kernel.Role{kernel.RoleClient, kernel.RoleServer} {
		p := e.worker(role)
		if p == nil || p.leaving.Load() {
			continue
		}
		var unarranged *UnarrangedError
		err := e.arrange(p, scenarioStep{role, closeAll}, timeout)
		switch {
		case errors.As(err, &unarranged) && unarranged.Stuck > 0:
			return fmt.Errorf("the load %s has closed its connections but %d within %v", role, unarranged.Stuck, timeout)
		case err != nil && unarranged == nil:
			return fmt.Errorf("close the connections: %w", err)
		}
	}
	return nil
}

// ClosesAll tells whether CloseConnections closes all that the scenario has opened: connections that both ends still have, or the
// server's alone where the client is gone.
func (s Scenario) ClosesAll() bool { return !s.Listens && s.Accepted() && s.Server != "" }
