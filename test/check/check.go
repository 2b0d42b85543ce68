// Package check holds claims on what a run records, for tests that make recordings in different ways: in their own process,
// by the program, in virtual machines. A check gives an error that names everything that is not so. It knows recordings, the
// kernel's data and the scenarios, and imports nothing else of the program.
//
// The claims are true on a host whose other programs open connections at the same time: they are on counts, types, and the
// trace against the walk. Those of alone.go are not. They are for a kernel on which nothing else runs: a virtual machine's.
package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Roles are the two ends of a connection.
var Roles = []kernel.Role{kernel.RoleClient, kernel.RoleServer}

// OneEach are the types of which an endpoint in an epoll set has one, and which nothing shares.
var OneEach = []string{"tcp_sock", "socket_alloc", "file", "dentry", "epitem", "eppoll_entry"}

// established is the state that idle connections are in.
var established = kernel.StateEstablished.String()

// One is the machine of a recording that has one.
func One(r *recording.Recording) (*recording.Machine, error) {
	if err := schema(r, 1); err != nil {
		return nil, err
	}
	return r.Machines[0], nil
}

// Two are the machines of a run between two.
func Two(r *recording.Recording) (client, server *recording.Machine, err error) {
	if err := schema(r, 2); err != nil {
		return nil, nil, err
	}
	client, server = r.Machines[0], r.Machines[1]
	if client.End() != kernel.RoleClient || server.End() != kernel.RoleServer {
		return nil, nil, fmt.Errorf("the machines have the %s and the %s end, want client and server", client.End(), server.End())
	}
	return client, server, nil
}

func schema(r *recording.Recording, machines int) error {
	if r.Schema != recording.Schema || r.Kind != recording.KindRun || len(r.Machines) != machines {
		return fmt.Errorf("a recording of schema %q and kind %q with %d machines, want %q, %q, %d", r.Schema, r.Kind, len(r.Machines),
			recording.Schema, recording.KindRun, machines)
	}
	return nil
}

// Load wants all connections up that were asked for, and none failed.
func Load(m *recording.Machine, conns int) error {
	l := m.Load
	if l == nil || l.Requested != conns || l.Established != conns || l.Failed != 0 || len(l.Failures) != 0 {
		return fmt.Errorf("want %d of %d connections established, and none failed: %+v", conns, conns, l)
	}
	return nil
}

// Idle wants all of a run's connections up and idle at both ends, as many from each address as from any other, and each
// object of theirs found. The trace has them, too.
func Idle(m *recording.Machine, ips, conns int) error {
	return errors.Join(Load(m, conns), Spread(m, ips, conns), End(m, kernel.RoleClient, conns), End(m, kernel.RoleServer, conns),
		Opens(m, conns, Roles...), Losses(m), Types(m), Compared(m, conns, Roles...))
}

// Notes wants nothing that limits how far the figures can be trusted.
func Notes(m *recording.Machine) error {
	if len(m.Notes) != 0 {
		return fmt.Errorf("notes: %s", strings.Join(m.Notes, "; "))
	}
	return nil
}

// Stacks wants the stacks to add up to the account's page bytes, by role and type, and the accepting end's to have no frames
// of the connecting one.
func Stacks(m *recording.Machine) error {
	var errs []error
	sums := map[string]uint64{}
	for _, s := range m.Stacks {
		sums[s.Role.String()+" "+s.Type] += s.Bytes
		if len(s.Frames) == 0 {
			errs = append(errs, fmt.Errorf("a stack without frames: %+v", s))
		}
		if s.Role == kernel.RoleServer && s.Type == "tcp_sock" &&
			slices.ContainsFunc(s.Frames, func(f string) bool { return strings.Contains(f, "sys_connect") }) {
			errs = append(errs, fmt.Errorf("the server's path has the client's frames: %v", s.Frames))
		}
	}
	rows := PageBytes(m)
	for key, want := range rows {
		if sums[key] != want {
			errs = append(errs, fmt.Errorf("the stacks of %s sum to %d bytes, the account has %d", key, sums[key], want))
		}
	}
	for key := range sums {
		if _, ok := rows[key]; !ok {
			errs = append(errs, fmt.Errorf("stacks of %s, which the account does not have", key))
		}
	}
	return errors.Join(errs...)
}

// PageBytes are the account's page bytes by role and type.
func PageBytes(m *recording.Machine) map[string]uint64 {
	sums := map[string]uint64{}
	for _, row := range m.Endpoints {
		for _, o := range row.Objects {
			sums[row.Role.String()+" "+o.Type] += o.PageBytes
		}
	}
	return sums
}
