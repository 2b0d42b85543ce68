package account

import (
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// A run's listeners, and the buckets that the accepted ends share with them, were there before slab memory grew.
func TestWhatWasThereBeforeIsNotHeldAgainstTheGrowth(t *testing.T) {
	const listenBucket, n = 0xa000, 32
	c := testCaches()
	standing := withBucket(listener(), listenBucket, false)
	endpoints := []*kernel.Endpoint{standing}
	for i := range n {
		endpoints = append(endpoints, client(i), withBucket(server(i), listenBucket, false))
	}
	l := visited(c, endpoints...)
	l.Standing(standing, c)
	r := &recording.Machine{}
	l.Fill(r, evidence(c))
	all, alone := int64(0), filled(c, standing)
	for _, row := range r.Endpoints {
		all += int64(row.PageBytes)
	}
	own := int64(alone.Endpoints[0].PageBytes)
	rec := r.Reconcile
	if rec.StandingBytes != own || rec.AccountedPageBytes != all-own-rec.ReusedBytes {
		t.Errorf("%d bytes standing and %d accounted of %d, want %d standing", rec.StandingBytes, rec.AccountedPageBytes, all, own)
	}
	for _, row := range rec.Caches {
		if row.Cache == "TCP" && row.AccountedObjects != 2*n {
			t.Errorf("%d socks held against the growth, want those of %d connections", row.AccountedObjects, n)
		}
	}
}
