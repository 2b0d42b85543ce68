package account

import (
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func TestPlacesFilledInOldSlabsExplainAShortGrowth(t *testing.T) {
	slab := kernel.Slab{Name: "filp", ObjectBytes: 192, ObjectsPerSlab: 21, PagesPerSlab: 1}
	before, after := slab, slab
	before.Objects, before.ActiveObjects, before.Slabs = 210, 110, 10 // 100 free
	after.Objects, after.ActiveObjects, after.Slabs = 252, 250, 12    // 2 free: 98 of 140 objects filled old places
	rows := []recording.EndpointRow{{Role: kernel.RoleClient, PageBytes: 27307,
		Objects: []recording.ObjectRow{{Type: "file", Cache: "filp", Count: 140, PageBytes: 27307}}}}
	rec := reconcile(rows, nil, Snapshot{Slabs: map[string]kernel.Slab{"filp": before, "other": before}},
		Snapshot{Slabs: map[string]kernel.Slab{"filp": after, "other": after}}, noVectors, grownOthers{})
	want := 98.0 * 4096 / 21
	if d := float64(rec.ReusedBytes) - want; d < -1 || d > 1 {
		t.Errorf("%d bytes used again, want %.0f: only the account's own cache counts", rec.ReusedBytes, want)
	}
	if rec.AccountedPageBytes != 27307-rec.ReusedBytes {
		t.Errorf("%d bytes accounted, want the rows' 27307 less %d", rec.AccountedPageBytes, rec.ReusedBytes)
	}
}

func noVectors(string) string { return "" }

// A slab that is filled up has brought its slabobj_ext vector along: none was allocated.
func TestVectorsOfOldSlabsAreNotExpectedToBeNew(t *testing.T) {
	file := kernel.Slab{Name: "filp", ObjectBytes: 192, ObjectsPerSlab: 20, PagesPerSlab: 1}
	vector := kernel.Slab{Name: "kmalloc-192", ObjectBytes: 192, ObjectsPerSlab: 16, PagesPerSlab: 1}
	was := map[string]kernel.Slab{"filp": file, "kmalloc-192": vector}
	file.Slabs, file.Objects, file.ActiveObjects = 5, 100, 0 // all free
	was["filp"] = file
	file.Slabs, file.Objects, file.ActiveObjects = 10, 200, 200
	vector.Slabs, vector.Objects, vector.ActiveObjects = 1, 16, 5 // 5 new slabs, 5 vectors
	is := map[string]kernel.Slab{"filp": file, "kmalloc-192": vector}
	rows := []recording.EndpointRow{{Role: kernel.RoleClient, PageBytes: 200*4096/20 + 10*256, Objects: []recording.ObjectRow{
		{Type: "file", Cache: "filp", Count: 200, PageBytes: 200 * 4096 / 20},
		{Type: "slabobj_ext", Cache: "kmalloc-192", Count: 10, PageBytes: 10 * 256}}}}
	rec := reconcile(rows, nil, Snapshot{Slabs: was}, Snapshot{SlabBytes: 6 * 4096, Slabs: is}, func(cache string) string {
		return map[string]string{"filp": "kmalloc-192"}[cache]
	}, grownOthers{})
	for _, c := range rec.Caches {
		want := map[string]recording.CacheRow{
			"filp":        {SlabinfoDeltaObjects: 200, AccountedObjects: 200, AccountedPageBytes: 40960, ReusedBytes: 20480},
			"kmalloc-192": {SlabinfoDeltaObjects: 5, AccountedObjects: 5, AccountedPageBytes: 2560, ReusedBytes: 5*256 - 11*256},
		}[c.Cache]
		if c.SlabinfoDeltaObjects != want.SlabinfoDeltaObjects || c.AccountedObjects != want.AccountedObjects ||
			c.AccountedPageBytes != want.AccountedPageBytes || c.ReusedBytes != want.ReusedBytes {
			t.Errorf("%+v, want %+v", c, want)
		}
	}
	if rec.UnexplainedRatio != 0 {
		t.Errorf("%d of %d bytes accounted", rec.AccountedPageBytes, rec.SlabDeltaBytes)
	}
}
