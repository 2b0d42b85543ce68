package recording

import (
	"errors"
	"fmt"
	"time"

	"github.com/connprof/connprof/internal/kernel"
)

// schema1 had one machine's fields at the top level. Where the accepting end was on another machine, the endpoints, stacks,
// addresses and costliest endpoints of both were in these lists, and all else of that machine was below "peer".
const schema1 = "connprof.recording/1"

type recording1 struct {
	Schema      string      `json:"schema"`
	Created     time.Time   `json:"created"`
	Version     string      `json:"version"`
	Command     []string    `json:"command"`
	Interrupted string      `json:"interrupted"`
	Host        host1       `json:"host"`
	Machine                 // what is named as it was
	Peer        *recording1 `json:"peer"`
}

type host1 struct {
	Host
	Name string `json:"name"`
}

func decode1(data []byte) (*Recording, error) {
	old := &recording1{}
	if err := unmarshal(data, old, schema1); err != nil {
		return nil, err
	}
	rec := &Recording{Schema: Schema, Created: old.Created, Version: old.Version, Command: old.Command, Kind: KindRun,
		Interrupted: old.Interrupted, Machines: []*Machine{old.machine()}}
	if old.Peer == nil {
		return rec, nil
	}
	switch p := old.Peer; {
	case p.Schema != schema1:
		return nil, fmt.Errorf("the recording has the other machine's part with schema %q and this connprof reads %q; use the "+
			"connprof that wrote it", p.Schema, schema1)
	case p.Peer != nil:
		return nil, errors.New("the recording does not fit its schema " + schema1 + ": field \"peer\" has a peer; record again")
	}
	server := old.Peer.machine()
	server.take(rec.Machines[0])
	rec.Add(&Recording{Version: old.Peer.Version, Command: old.Peer.Command, Interrupted: old.Peer.Interrupted,
		Machines: []*Machine{server}})
	return rec, nil
}

// machine is what is one machine's of a recording of schema 1.
func (r *recording1) machine() *Machine {
	m := r.Machine
	m.Host, m.Name = r.Host.Host, r.Host.Name
	if m.Load != nil && m.Load.End == kernel.RoleUnknown {
		m.Load.End = kernel.RoleBoth // it was left out
	}
	if !m.Profiled() {
		m.Trace, m.Reconcile, m.Sampling = nil, nil, nil // all zero
	}
	if p := r.Machine.Reconcile; p != nil && r.Load != nil && len(p.Caches) == 0 && p.SlabDeltaBytes == 0 {
		m.Reconcile = nil // the other machine has it
	}
	return &m
}

// take moves what is the accepting end's out of the other end's lists.
func (m *Machine) take(from *Machine) {
	from.Endpoints, m.Endpoints = divide(from.Endpoints, func(e EndpointRow) kernel.Role { return e.Role })
	from.Stacks, m.Stacks = divide(from.Stacks, func(s Stack) kernel.Role { return s.Role })
	from.Addresses, m.Addresses = divide(from.Addresses, func(a AddressRow) kernel.Role { return a.Role })
	from.Top, m.Top = divide(from.Top, func(t TopEndpoint) kernel.Role { return t.Role })
}

func divide[T any](list []T, role func(T) kernel.Role) (others, accepting []T) {
	for _, x := range list {
		if r := role(x); r == kernel.RoleServer || r == kernel.RoleListener {
			accepting = append(accepting, x)
		} else {
			others = append(others, x)
		}
	}
	return others, accepting
}
