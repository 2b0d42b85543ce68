package load

import (
	"context"
	"os/exec"
	"slices"
	"syscall"
	"testing"
)

// stopped has an engine's processes stopped, as by somebody who looks at them.
func stopped(t *testing.T, e *Engine) {
	t.Helper()
	for _, p := range e.workers {
		if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
}

func killed(p *process) bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Whoever is stopped cannot do as it is told. Once continued it can, and none has to be killed.
func TestEndWakesWhoeverIsStopped(t *testing.T) {
	c := testConfig(t, 1, 200)
	e := start(t, c)
	if err := e.Begin(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, e, "ramp", allUp(c.Connections))
	workers := slices.Clone(e.workers)
	stopped(t, e)
	e.End()
	for _, p := range workers {
		if killed(p) {
			t.Errorf("the load %s had to be killed", p.role)
		}
	}
	clients, servers := established(t, c.Ports[0])
	if len(clients) != 0 || servers != 0 {
		t.Errorf("still up: %v, %d", clients, servers)
	}
}

// Nobody waits for a stopped process that has been told to end, and does not, once the engine is aborted.
func TestAnAbortKillsWhoeverIsStopped(t *testing.T) {
	abort, now := context.WithCancel(t.Context())
	e, err := StartContext(abort, testConfig(t, 1, 200), (*exec.Cmd).Start)
	if err != nil {
		t.Fatal(err)
	}
	workers := slices.Clone(e.workers)
	stopped(t, e)
	now()
	<-e.Ended()
	e.End()
	for _, p := range workers {
		if !killed(p) {
			t.Errorf("the load %s: %v, want it killed", p.role, p.cmd.ProcessState)
		}
	}
}

func TestAnAbortEndsTheWaitForAProcessThatDoesNotStart(t *testing.T) {
	abort, now := context.WithCancel(t.Context())
	_, err := StartContext(abort, testConfig(t, 1, 200), func(cmd *exec.Cmd) error {
		defer now()
		if err := cmd.Start(); err != nil {
			return err
		}
		return cmd.Process.Signal(syscall.SIGSTOP)
	})
	if err == nil {
		t.Error("a load that was aborted has started")
	}
}
