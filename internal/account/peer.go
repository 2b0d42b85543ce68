package account

import (
	"cmp"
	"errors"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
)

// Join makes the accepting end's recording, from another machine, part of the connecting end's: its endpoints, stacks
// and addresses are put beside the others, and all else becomes Peer. Rows that are not an accepting end's are dropped.
func (r *Recording) Join(server *Recording) {
	p := *server
	accepting := func(role string) bool {
		return role == kernel.RoleServer.String() || role == kernel.RoleListener.String()
	}
	for _, row := range p.Endpoints {
		if accepting(row.Role) {
			r.Endpoints = append(r.Endpoints, row)
		}
	}
	for _, s := range p.Stacks {
		if accepting(s.Role) {
			r.Stacks = append(r.Stacks, s)
		}
	}
	for _, a := range p.Addresses {
		if accepting(a.Role) {
			r.Addresses = append(r.Addresses, a)
		}
	}
	for _, t := range p.Top {
		if accepting(t.Role) {
			r.Top = append(r.Top, t)
		}
	}
	slices.SortStableFunc(r.Top, func(a, b TopEndpoint) int {
		return cmp.Compare(b.PageBytes+b.BufferBytes, a.PageBytes+a.BufferBytes)
	})
	r.Top = r.Top[:min(len(r.Top), topEndpoints)]
	if r.Host.Boot != "" && r.Host.Boot == p.Host.Boot {
		r.Reconcile.join(&p.Reconcile)
		p.Reconcile = Reconcile{Caches: []CacheRow{}}
	}
	p.Endpoints, p.Stacks, p.Addresses, p.Top, p.Peer = []EndpointRow{}, []Stack{}, []AddressRow{}, []TopEndpoint{}, nil
	r.Peer = &p
}

// join adds the account of the other end, which the same kernel holds. The growth is the kernel's, and what of it lies in
// old slabs is, too: both ends have read the same.
func (rec *Reconcile) join(other *Reconcile) {
	rec.BothEnds = true
	rec.AccountedPageBytes += other.AccountedPageBytes + other.ReusedBytes
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
				rec.Caches = append(rec.Caches, theirs)
				continue
			}
			ours.ReusedBytes, ours.ReusedVectors = theirs.ReusedBytes, theirs.ReusedVectors
			ours.AccountedObjects = -theirs.ReusedVectors
		}
		ours.AccountedObjects += theirs.AccountedObjects + theirs.ReusedVectors
		ours.AccountedPageBytes += theirs.AccountedPageBytes
	}
	rec.UnexplainedRatio = unexplainedRatio(rec)
}

// Parts are the recordings of each machine, as they were before Join; the second is nil where there was one machine. What
// Join has left out of the costliest endpoints stays out, and where BothEnds is set the first has the account of both.
func (r *Recording) Parts() (own, peer *Recording) {
	if r.Peer == nil {
		return r, nil
	}
	near, far := *r, *r.Peer
	near.Peer, far.Peer = nil, nil
	client := func(role string) bool { return role == kernel.RoleClient.String() }
	near.Endpoints, far.Endpoints = divided(r.Endpoints, func(e EndpointRow) bool { return client(e.Role) })
	near.Stacks, far.Stacks = divided(r.Stacks, func(s Stack) bool { return client(s.Role) })
	near.Addresses, far.Addresses = divided(r.Addresses, func(a AddressRow) bool { return client(a.Role) })
	near.Top, far.Top = divided(r.Top, func(t TopEndpoint) bool { return client(t.Role) })
	return &near, &far
}

func divided[T any](list []T, first func(T) bool) (yes, no []T) {
	for _, x := range list {
		if first(x) {
			yes = append(yes, x)
		} else {
			no = append(no, x)
		}
	}
	return yes, no
}

// Decode reads a recording that came over a network.
func Decode(data []byte) (*Recording, error) {
	r, err := decode(data)
	if err == nil && r.Peer != nil {
		return nil, errors.New("the recording has another machine's in it")
	}
	return r, err
}
