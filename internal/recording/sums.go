package recording

import (
	"cmp"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
)

// Load is what was opened, as the connecting end counted it; nil where connprof opened nothing.
func (r *Recording) Load() *Load {
	for _, m := range r.Machines {
		if m.Load != nil {
			return m.Load
		}
	}
	return nil
}

// Scenario is what was done with the connections, empty where connprof opened none.
func (r *Recording) Scenario() string {
	if l := r.Load(); l != nil {
		return l.Scenario
	}
	return ""
}

// Established is how many connections are up, and in their scenario, by the end that has fewer.
func (r *Recording) Established() int {
	n := r.Load().Established
	for _, m := range r.Machines {
		if m.Load != nil {
			n = min(n, m.Load.Established)
		}
	}
	return n
}

// Profiled are the machines that made an account.
func (r *Recording) Profiled() []*Machine { return r.of((*Machine).Profiled) }

// Reconciled are the machines whose account was held against the growth of their kernel. Of two that share a kernel it is
// the first, whose Reconcile has the account of both.
func (r *Recording) Reconciled() []*Machine {
	return r.of(func(m *Machine) bool { return m.Reconcile != nil })
}

func (r *Recording) of(is func(*Machine) bool) []*Machine {
	return slices.DeleteFunc(slices.Clone(r.Machines), func(m *Machine) bool { return !is(m) })
}

// Rows are the rows of endpoints of all machines.
func (r *Recording) Rows() []*EndpointRow {
	return gather(r, func(m *Machine) []EndpointRow { return m.Endpoints })
}

// Stacks are the call paths of all machines.
func (r *Recording) Stacks() []*Stack { return gather(r, func(m *Machine) []Stack { return m.Stacks }) }

// TopLength is how many of its costliest endpoints a machine lists at most.
const TopLength = 100

// Top are the costliest endpoints of all machines, the costliest first.
func (r *Recording) Top() []*TopEndpoint {
	top := gather(r, func(m *Machine) []TopEndpoint { return m.Top })
	slices.SortStableFunc(top, func(a, b *TopEndpoint) int {
		return cmp.Or(cmp.Compare(b.PageBytes+b.BufferBytes, a.PageBytes+a.BufferBytes), cmp.Compare(a.Role, b.Role))
	})
	return top[:min(TopLength, len(top))]
}

func gather[T any](r *Recording, list func(*Machine) []T) []*T {
	var all []*T
	for _, m := range r.Machines {
		for i := range list(m) {
			all = append(all, &list(m)[i])
		}
	}
	return all
}

// Counts are the endpoints of each role, over all states and machines.
func (r *Recording) Counts() map[kernel.Role]int {
	counts := map[kernel.Role]int{}
	for _, row := range r.Rows() {
		counts[row.Role] += max(row.Count, 0)
	}
	return counts
}

// Count is how many endpoints the machine has, of all roles and states.
func (m *Machine) Count() int {
	n := 0
	for _, row := range m.Endpoints {
		n += max(row.Count, 0)
	}
	return n
}

// Lost is the number of losses on all machines.
func (r *Recording) Lost() uint64 {
	n := uint64(0)
	for _, m := range r.Machines {
		n += m.Losses.Total()
	}
	return n
}

// OneKernel tells whether the recording is of several machines that are one: each is a network namespace of the same host.
func (r *Recording) OneKernel() bool {
	if len(r.Machines) < 2 || r.Machines[0].Host.Boot == "" {
		return false
	}
	return !slices.ContainsFunc(r.Machines, func(m *Machine) bool { return m.Host.Boot != r.Machines[0].Host.Boot })
}

// Missing is the end of the connections, client or server, of which the recording has no account while it has one of the
// other. It is RoleUnknown where both ends are there, where there is no account at all, and where connprof opened nothing.
func (r *Recording) Missing() kernel.Role {
	has := map[kernel.Role]bool{}
	for _, m := range r.Profiled() {
		has[m.End()] = true
	}
	switch {
	case has[kernel.RoleBoth] || has[kernel.RoleClient] == has[kernel.RoleServer]:
		return kernel.RoleUnknown
	case has[kernel.RoleClient]:
		return kernel.RoleServer
	}
	return kernel.RoleClient
}
