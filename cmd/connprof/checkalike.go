package main

import (
	"fmt"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
)

// alike makes a demand one for more connections like those that a look has found: with the mean page bytes of their ends here,
// and with what these have queued.
func alike(d *limits.Demand, rec *recording.Recording, path string) (source string, err error) {
	d.Alike, d.ClientBytes, d.ServerBytes, d.QueuedBytes = true, 0, 0, 0
	for _, end := range []struct {
		role, other kernel.Role
		bytes       *uint64
	}{{kernel.RoleClient, kernel.RoleServer, &d.ClientBytes}, {kernel.RoleServer, kernel.RoleClient, &d.ServerBytes}} {
		if d.Role == end.other {
			continue
		}
		page, queued := meanBytes(rec, end.role)
		if page == 0 {
			return "", fmt.Errorf("%s: it has no ESTABLISHED endpoint of role %s whose bytes are known; choose another end with --as, "+
				"or take a snapshot while there are some", path, end.role)
		}
		*end.bytes = page
		d.QueuedBytes += queued
	}
	return fmt.Sprintf("the mean of those in %s, kernel %s", path, rec.Machines[0].Host.Kernel), nil
}

// meanBytes is what an established endpoint of a role has of slab pages and of queued data, rounded up; 0 if there is none.
func meanBytes(rec *recording.Recording, role kernel.Role) (page, queued uint64) {
	var n uint64
	for _, row := range rec.Rows() {
		if row.Role == role && row.State == kernel.StateEstablished.String() && row.Count > 0 {
			n, page, queued = n+uint64(row.Count), page+row.PageBytes, queued+row.BufferBytes
		}
	}
	if n == 0 {
		return 0, 0
	}
	return (page + n - 1) / n, (queued + n - 1) / n
}
