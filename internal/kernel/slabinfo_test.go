package kernel

import (
	"os"
	"strings"
	"testing"
)

func testSlabs(t *testing.T) map[string]Slab {
	t.Helper()
	slabs, err := SlabinfoBelow("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return slabs
}

func TestSlabinfoGivesEachCacheWithItsFigures(t *testing.T) {
	slabs := testSlabs(t)
	if len(slabs) != 20 {
		t.Errorf("%d caches in an excerpt of 20", len(slabs))
	}
	want := map[string]Slab{
		"TCP":           {"TCP", 79, 130, 2368, 13, 8, 10},
		"eventpoll_epi": {"eventpoll_epi", 387, 512, 128, 32, 1, 16},
		"kmalloc-8k":    {"kmalloc-8k", 52, 52, 8192, 4, 8, 13},
		// A name longer than its column does not shift the others.
		"btrfs_delayed_node": {"btrfs_delayed_node", 0, 0, 312, 13, 1, 0},
	}
	for name, w := range want {
		if slabs[name] != w {
			t.Errorf("%s: got %+v, want %+v", name, slabs[name], w)
		}
	}
}

func TestEmptySlabsCount(t *testing.T) {
	slabs, err := SlabinfoBelow(procWith(t, "slabinfo", "TCP 1 48 2368 16 8 : tunables 0 0 0 : slabdata 1 3 0\n"))
	if err != nil || slabs["TCP"].Slabs != 3 {
		t.Errorf("%+v, %v; want the 3 slabs there are, not the 1 in use", slabs["TCP"], err)
	}
}

func TestPagesOfSlabs(t *testing.T) {
	page := uint64(os.Getpagesize())
	tests := []struct {
		name string
		slab Slab
		all  uint64
		each float64
	}{
		{"all slabs count, also those of free objects", Slab{ObjectsPerSlab: 13, PagesPerSlab: 8, Slabs: 5}, 40 * page,
			float64(8*page) / 13},
		{"an object bears its share of the waste", Slab{ObjectBytes: 192, ObjectsPerSlab: 21, PagesPerSlab: 1, Slabs: 1},
			page, float64(page) / 21},
		{"an empty cache has no pages", Slab{ObjectsPerSlab: 16, PagesPerSlab: 1}, 0, float64(page) / 16},
		{"without geometry an object is its size", Slab{ObjectBytes: 96}, 0, 96},
	}
	for _, test := range tests {
		if got := test.slab.PageBytes(); got != test.all {
			t.Errorf("%s: PageBytes %d, want %d", test.name, got, test.all)
		}
		if got := test.slab.PageBytesEach(); got != test.each {
			t.Errorf("%s: PageBytesEach %v, want %v", test.name, got, test.each)
		}
	}
}

func TestMalformedSlabinfoIsAnErrorThatSaysWhatIsWrong(t *testing.T) {
	const header = "slabinfo - version: 2.1\n# name            <active_objs> <num_objs>\n"
	const tunables = " : tunables    0    0    0"
	tests := []struct{ name, text, say string }{
		{"empty", "", "no cache"},
		{"only the header", header, "no cache"},
		{"no slabdata", header + "TCP 40 104 2368 13 8" + tunables + "\n", "TCP 40 104"},
		{"a field is missing", header + "TCP 40 104 2368 13" + tunables + " : slabdata 8 8 0\n", "TCP 40 104"},
		{"a word in place of a number", header + "TCP 40 many 2368 13 8" + tunables + " : slabdata 8 8 0\n", `"many"`},
		{"cut off in slabdata", header + "TCP 40 104 2368 13 8" + tunables + " : slabdata 8", "slabdata 8"},
		{"a negative count", header + "TCP -1 104 2368 13 8" + tunables + " : slabdata 8 8 0\n", "below zero for cache TCP"},
		{"another file", "MemTotal:       24612345 kB\n", "MemTotal"},
	}
	for _, test := range tests {
		slabs, err := SlabinfoBelow(procWith(t, "slabinfo", test.text))
		if err == nil {
			t.Errorf("%s: no error, got %v", test.name, slabs)
		} else if !strings.Contains(err.Error(), test.say) {
			t.Errorf("%s: error %q does not say %q", test.name, err, test.say)
		}
	}
}

func TestRunningKernelsSlabinfo(t *testing.T) {
	slabs, err := ReadSlabinfo()
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range slabs {
		if s.ObjectBytes == 0 || s.ObjectsPerSlab == 0 || s.PagesPerSlab == 0 {
			t.Errorf("%s has no geometry: %+v", name, s)
		}
		if s.PageBytesEach() < float64(s.ObjectBytes) {
			t.Errorf("%s: an object of %d bytes in %.1f page bytes", name, s.ObjectBytes, s.PageBytesEach())
		}
	}
	for _, name := range []string{"TCP", "dentry", "kmalloc-64"} {
		if slabs[name].ObjectBytes == 0 {
			t.Errorf("no %s in /proc/slabinfo", name)
		}
	}
}
