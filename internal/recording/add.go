package recording

import (
	"math"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
)

// Add adds the accepting end's recording, from another machine, to the connecting end's. Rows that are not an accepting
// end's are dropped. Where both ends are on one kernel, their accounts are held against its growth together.
func (r *Recording) Add(server *Recording) {
	m := *server.Machines[0]
	m.keep(kernel.RoleServer, kernel.RoleListener)
	m.Command = server.Command
	if server.Version != r.Version {
		m.Version = server.Version
	}
	if server.Interrupted != r.Interrupted {
		m.Interrupted = server.Interrupted
	}
	client := r.Machines[0]
	if client.Host.Boot != "" && client.Host.Boot == m.Host.Boot && client.Reconcile != nil && m.Reconcile != nil {
		client.Reconcile.add(m.Reconcile)
		client.Reconcile.leaveOut(m.Endpoints)
		m.Reconcile = nil
	}
	r.Machines = append(r.Machines, &m)
}

// keep drops what is not of some roles.
func (m *Machine) keep(roles ...kernel.Role) {
	m.Endpoints = ofRoles(m.Endpoints, roles, func(e EndpointRow) kernel.Role { return e.Role })
	m.Stacks = ofRoles(m.Stacks, roles, func(s Stack) kernel.Role { return s.Role })
	m.Addresses = ofRoles(m.Addresses, roles, func(a AddressRow) kernel.Role { return a.Role })
	m.Top = ofRoles(m.Top, roles, func(t TopEndpoint) kernel.Role { return t.Role })
}

func ofRoles[T any](list []T, roles []kernel.Role, role func(T) kernel.Role) []T {
	kept := []T{}
	for _, x := range list {
		if slices.Contains(roles, role(x)) {
			kept = append(kept, x)
		}
	}
	return kept
}

// add adds the account of the other end, which the same kernel holds. The growth is the kernel's, and what of it lies in
// old slabs is, too: both ends have read the same. To each end the other's endpoints were others.
func (rec *Reconcile) add(other *Reconcile) {
	rec.BothEnds = true
	if rec.Others != nil {
		rec.Others.PageBytes -= other.AccountedPageBytes + other.ReusedBytes
	}
	rec.AccountedPageBytes += other.AccountedPageBytes + other.ReusedBytes
	rec.StandingBytes += other.StandingBytes
	at := map[string]*CacheRow{}
	for i := range rec.Caches {
		at[rec.Caches[i].Cache] = &rec.Caches[i]
	}
	for _, theirs := range other.Caches {
		ours := at[theirs.Cache]
		if ours == nil || ours.AccountedObjects == 0 && ours.ReusedBytes == 0 { // no cache of this end's account
			rec.AccountedPageBytes -= theirs.ReusedBytes
			rec.ReusedBytes += theirs.ReusedBytes
			if ours == nil {
				theirs.OthersObjects, theirs.OthersPageBytes = 0, 0
				rec.Caches = append(rec.Caches, theirs)
				continue
			}
			ours.ReusedBytes, ours.ReusedVectors = theirs.ReusedBytes, theirs.ReusedVectors
			ours.AccountedObjects = -theirs.ReusedVectors
		}
		ours.AccountedObjects += theirs.AccountedObjects + theirs.ReusedVectors
		ours.AccountedPageBytes += theirs.AccountedPageBytes
		if rec.Others != nil {
			ours.OthersObjects -= theirs.AccountedObjects + theirs.ReusedVectors
			ours.OthersPageBytes -= theirs.AccountedPageBytes
		}
	}
	rec.UnexplainedRatio = rec.Ratio()
}

// leaveOut takes the other end's sockets out of those that were others: listeners were there before.
func (rec *Reconcile) leaveOut(rows []EndpointRow) {
	if rec.Others == nil {
		return
	}
	for _, row := range rows {
		rec.Others.SocketsAfter -= row.Count
		if row.Role == kernel.RoleListener {
			rec.Others.SocketsBefore -= row.Count
		}
	}
}

// Ratio is UnexplainedRatio by the other figures.
func (rec *Reconcile) Ratio() float64 {
	if rec.SlabDeltaBytes == 0 {
		return 0
	}
	return math.Abs(float64(rec.Unexplained())) / math.Abs(float64(rec.SlabDeltaBytes))
}
