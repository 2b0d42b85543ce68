package account

import (
	"testing"

	"github.com/connprof/connprof/kernel"
)

func TestPlacesFilledInOldSlabsExplainAShortGrowth(t *testing.T) {
	slab := kernel.Slab{Name: "filp", ObjectBytes: 192, ObjectsPerSlab: 21, PagesPerSlab: 1}
	before, after := slab, slab
	before.Objects, before.ActiveObjects, before.Slabs = 210, 110, 10 // 100 free
	after.Objects, after.ActiveObjects, after.Slabs = 252, 250, 12    // 2 free: 98 of 140 objects filled old places
	rows := []EndpointRow{{Role: "client", PageBytes: 27307, Objects: []ObjectRow{{Type: "file", Cache: "filp", Count: 140, PageBytes: 27307}}}}
	rec := reconcile(rows, Snapshot{Slabs: map[string]kernel.Slab{"filp": before, "other": before}},
		Snapshot{Slabs: map[string]kernel.Slab{"filp": after, "other": after}})
	want := 98.0 * 4096 / 21
	if d := float64(rec.ReusedBytes) - want; d < -1 || d > 1 {
		t.Errorf("%d bytes used again, want %.0f: only the account's own cache counts", rec.ReusedBytes, want)
	}
	if rec.AccountedPageBytes != 27307-rec.ReusedBytes {
		t.Errorf("%d bytes accounted, want the rows' 27307 less %d", rec.AccountedPageBytes, rec.ReusedBytes)
	}
}
