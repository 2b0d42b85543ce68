package loader

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// allocate makes and frees a struct file and what belongs to it, some times.
func allocate() error {
	for range 200 {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			return err
		}
		unix.Close(fd)
	}
	return nil
}

// allocations is what the call sites of this process have counted so far.
func allocations(t *testing.T, p *Probes) uint64 {
	t.Helper()
	sites, _, err := p.Sites()
	if err != nil {
		t.Fatal(err)
	}
	var n uint64
	for _, s := range sites {
		if !s.Free {
			n += s.Count
		}
	}
	return n
}

func TestAllocationsAreCountedOnlyWhileTheSlabHookIsOn(t *testing.T) {
	p := load(t, Config{})
	if err := p.SetRoles(os.Getpid(), 0); err != nil {
		t.Fatal(err)
	}
	grows := func() uint64 {
		before := allocations(t, p)
		if err := allocate(); err != nil {
			t.Fatal(err)
		}
		return allocations(t, p) - before
	}
	if n := grows(); n < 200 {
		t.Errorf("%d allocations counted at first, want 200 at least", n)
	}
	for range 2 { // leaving twice is no error
		if err := p.LeaveAllocations(); err != nil {
			t.Fatal(err)
		}
	}
	if n := grows(); n != 0 {
		t.Errorf("%d allocations counted with the hook off", n)
	}
	for range 2 {
		if err := p.TraceAllocations(0); err != nil {
			t.Fatal(err)
		}
	}
	if n := grows(); n < 200 {
		t.Errorf("%d allocations counted after the hook was put back, want 200 at least", n)
	}
	if len(p.slabLinks) != len(p.slabRung.programs) {
		t.Errorf("%d links of %d programs: attaching twice has counted twice", len(p.slabLinks), len(p.slabRung.programs))
	}
}
