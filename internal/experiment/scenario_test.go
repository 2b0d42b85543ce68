package experiment

import (
	"errors"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/test/check"
)

func TestEveryScenarioHoldsWhatItSays(t *testing.T) {
	for _, s := range load.Scenarios {
		t.Run(s.Name, func(t *testing.T) {
			n := s.AmongAll(300)
			o := options(n)
			o.Scenario, o.Payload = s.Name, 4096
			rec := mustRun(t, o)
			if err := errors.Join(check.Load(rec, n), check.Scenario(rec, s, n), check.Losses(rec)); err != nil {
				t.Errorf("%v\nnotes %q", err, rec.Notes)
			}
		})
	}
}

// In an accept queue each connection has a request of its cache, which is in slabinfo.
func TestWhatWaitsToBeAcceptedIsWholeInTheAccount(t *testing.T) {
	const n, others = 2000, 200 // that other programs' handshakes may have had before the run, and no longer after it
	o := options(n)
	o.Scenario = "unaccepted"
	rec := mustRun(t, o)
	found := false
	for _, c := range rec.Reconcile.Caches {
		if !strings.HasPrefix(c.Cache, "request_sock_TCP") {
			continue
		}
		found = true
		if c.AccountedObjects != n || c.SlabinfoDeltaObjects < n-others {
			t.Errorf("%s: %d accounted, slabinfo grew by %d; want %d", c.Cache, c.AccountedObjects, c.SlabinfoDeltaObjects, n)
		}
	}
	if !found {
		t.Errorf("no cache of requests was compared: %+v", rec.Reconcile.Caches)
	}
}

func TestBuffersAreTheKernelsOwnAccounting(t *testing.T) {
	const n, payload = 100, 8192
	o := options(n)
	o.Scenario, o.Payload = "unread", payload
	rec := mustRun(t, o)
	for _, row := range rec.Endpoints {
		each := int(row.BufferBytes) / row.Count
		switch row.Role {
		case kernel.RoleServer: // the data and what the kernel charges for the skbs around it
			if each < payload || each > 2*payload {
				t.Errorf("%d buffer bytes on each server endpoint with %d bytes unread", each, payload)
			}
		default:
			if each != 0 {
				t.Errorf("%d buffer bytes on each %s endpoint, all of whose data is acknowledged", each, row.Role)
			}
		}
	}
}
