package experiment

import (
	"errors"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/test/check"
)

func TestEveryScenarioHoldsWhatItSays(t *testing.T) {
	const n = 300
	for _, s := range load.Scenarios {
		t.Run(s.Name, func(t *testing.T) {
			o := options(n)
			o.Scenario, o.Payload = s.Name, 4096
			rec := mustRun(t, o)
			if err := errors.Join(check.Load(rec, n), check.Scenario(rec, s, n), check.Losses(rec)); err != nil {
				t.Errorf("%v\nnotes %q", err, rec.Notes)
			}
		})
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
