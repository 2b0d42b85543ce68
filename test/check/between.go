package check

import (
	"errors"
	"fmt"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Between wants all connections of a run between two machines up at both ends, each end seen by its own machine's trace. It is
// so in every scenario.
func Between(r *recording.Recording, conns int) error {
	client, server, err := Two(r)
	if err != nil {
		return err
	}
	errs := []error{Load(client, conns), Opens(client, conns, kernel.RoleClient), Opens(server, conns, kernel.RoleServer),
		Losses(client), Losses(server)}
	if server.Load.Established != conns {
		errs = append(errs, fmt.Errorf("want %d connections at the accepting end: %+v", conns, server.Load))
	}
	if r.Interrupted != "" || client.Interrupted != "" || server.Interrupted != "" {
		errs = append(errs, fmt.Errorf("interrupted %q, the ends %q and %q", r.Interrupted, client.Interrupted, server.Interrupted))
	}
	return errors.Join(errs...)
}

// IdleBetween wants the same, and each connection idle: each end's objects are found, by its own machine's walk and trace.
func IdleBetween(r *recording.Recording, conns int) error {
	client, server, err := Two(r)
	if err != nil {
		return err
	}
	errs := []error{Between(r, conns)}
	for _, m := range []*recording.Machine{client, server} {
		if err := errors.Join(End(m, m.End(), conns), Types(m), Compared(m, conns, m.End())); err != nil {
			errs = append(errs, fmt.Errorf("the %s's machine: %w", m.End(), err))
		}
	}
	return errors.Join(errs...)
}

// OneKernel wants the two ends' accounts held against the growth of the one kernel that both are on.
func OneKernel(r *recording.Recording) error {
	client, server, err := Two(r)
	switch {
	case err != nil:
		return err
	case client.Host.Boot == "" || client.Host.Boot != server.Host.Boot:
		return fmt.Errorf("boots %q and %q, want the same", client.Host.Boot, server.Host.Boot)
	case client.Reconcile == nil || !client.Reconcile.BothEnds || server.Reconcile != nil:
		return fmt.Errorf("want one reconciliation of both ends: %+v and %+v", client.Reconcile, server.Reconcile)
	}
	return nil
}

// TwoKernels wants each end's account held against its own kernel's growth.
func TwoKernels(r *recording.Recording) error {
	client, server, err := Two(r)
	switch {
	case err != nil:
		return err
	case client.Host.Boot == "" || client.Host.Boot == server.Host.Boot:
		return fmt.Errorf("both ends are taken for one kernel: boots %q and %q", client.Host.Boot, server.Host.Boot)
	case client.Reconcile == nil || client.Reconcile.BothEnds || server.Reconcile == nil || server.Reconcile.BothEnds:
		return fmt.Errorf("want a reconciliation of each end: %+v and %+v", client.Reconcile, server.Reconcile)
	}
	return nil
}
