package account

import (
	"slices"

	"github.com/connprof/connprof/internal/recording"
)

// FillThreads says how much of the slab growth is in the caches that threads fill, by the names /proc/slabinfo lists them
// under, beyond what the account has in them. It is part of what the account leaves unexplained, and stays part of that.
func FillThreads(r *recording.Machine, before, after Snapshot, caches []string) {
	t := &recording.ThreadSlab{Caches: []recording.ThreadCacheGrown{}}
	for _, name := range caches {
		is, ok := after.Slabs[name]
		if !ok {
			continue // not every kernel has all
		}
		was := before.Slabs[name]
		c := recording.ThreadCacheGrown{Cache: name, Objects: int64(is.ActiveObjects) - int64(was.ActiveObjects),
			Bytes: int64(is.PageBytes()) - int64(was.PageBytes())}
		for _, row := range r.Reconcile.Caches {
			if row.Cache == name {
				c.Objects -= row.AccountedObjects
				c.Bytes -= row.AccountedPageBytes - row.ReusedBytes
			}
		}
		t.Bytes += c.Bytes
		t.Caches = append(t.Caches, c)
	}
	r.Reconcile.Threads = t
}

// Listed are the names under which /proc/slabinfo lists caches, each once: merged ones have one name.
func Listed(names []string, aliases map[string]string) []string {
	var listed []string
	for _, name := range names {
		if other, ok := aliases[name]; ok {
			name = other
		}
		if !slices.Contains(listed, name) {
			listed = append(listed, name)
		}
	}
	return listed
}
