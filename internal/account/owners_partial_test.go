package account

import (
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// partialOwners are those of a connprof in a PID namespace of its own.
type partialOwners struct {
	OwnersByFile
	partial bool
}

func (p partialOwners) Partial() bool { return p.partial }

func TestAFileIsNotInFlightWhereNotAllProcessesAreSeen(t *testing.T) {
	owners := OwnersByFile{1: wrk}
	for _, c := range []struct {
		file    uint64
		partial bool
		want    recording.OwnerKind
	}{
		{1, false, recording.OwnerProcess}, {1, true, recording.OwnerProcess},
		{2, false, recording.OwnerInFlight}, {2, true, recording.OwnerUnseen},
	} {
		e := &kernel.Endpoint{State: kernel.StateEstablished, File: c.file}
		if kind, _ := ownerOf(partialOwners{owners, c.partial}, e); kind != c.want {
			t.Errorf("file %d, partial %v: %s, want %s", c.file, c.partial, kind, c.want)
		}
	}
}
