//go:build vm

package kernel

import (
	"os"
	"testing"
	"time"
)

// Places that a CPU keeps for itself are counted as used until the kernel is asked to give them back: a few opened and
// closed files leave some.
func TestSettledSlabinfoCountsNoFreePlacesAsUsed(t *testing.T) {
	partial := func(name string) (used, places uint64) {
		slabs, err := ReadSlabinfo()
		if err != nil {
			t.Fatal(err)
		}
		return slabs[name].ActiveObjects, slabs[name].Objects
	}
	var files []*os.File
	for range 500 {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	if err := SettleCounts(); err != nil {
		t.Fatal(err)
	}
	before, _ := partial("filp")
	for _, f := range files {
		f.Close()
	}
	// A struct file is reused at once, so another 250 leave a known number.
	kept := files[:0]
	for range 250 {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, f)
	}
	// Other processes open and close files as well: half of the difference is enough to tell. Closed files are freed after
	// an RCU grace period.
	var after, places uint64
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if err := SettleCounts(); err != nil {
			t.Fatal(err)
		}
		if after, places = partial("filp"); after+125 <= before || time.Now().After(end) {
			break
		}
	}
	for _, f := range kept {
		f.Close()
	}
	if after+125 > before || places < after {
		t.Errorf("%d struct files in use before 250 were closed, %d after, of %d places", before, after, places)
	}
}
