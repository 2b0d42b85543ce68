package loader

import (
	"net"
	"os"
	"testing"

	"github.com/cilium/ebpf/btf"
)

func TestCachesThatTheWalkFindsNoPlaceForAreCounted(t *testing.T) {
	p := load(t, Config{Hooks: WalkOnly, cacheEntries: 1})
	if c := counters(t, p); c.MapFull != 0 {
		t.Fatalf("%d updates failed before anything was met", c.MapFull)
	}
	meetTwoCaches(t, p)
	checkOnePlace(t, p)
}

func TestCachesThatTheSlabHookFindsNoPlaceForAreCounted(t *testing.T) {
	p := load(t, Config{cacheEntries: 1})
	if err := p.SetRoles(os.Getpid(), 0); err != nil {
		t.Fatal(err)
	}
	if err := allocate(); err != nil {
		t.Fatal(err)
	}
	types, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	if tracepointPassesCache(types) {
		checkOnePlace(t, p)
	} else if c := counters(t, p); c.MapFull != 0 { // it meets sizes, and has no cache to remember
		t.Errorf("%d updates failed", c.MapFull)
	}
}

// checkOnePlace wants one cache remembered and the others counted.
func checkOnePlace(t *testing.T, p *Probes) {
	t.Helper()
	caches, err := p.Caches()
	if err != nil || len(caches) != 1 {
		t.Errorf("%d caches remembered, error %v, want 1", len(caches), err)
	}
	if c := counters(t, p); c.MapFull == 0 {
		t.Error("a second cache found no place, and nothing is counted")
	}
}

func TestWithPlaceForAllCachesNothingIsLost(t *testing.T) {
	p := load(t, Config{})
	if err := p.SetRoles(os.Getpid(), 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := allocate(); err != nil {
			t.Fatal(err)
		}
		meetTwoCaches(t, p)
	}
	if c := counters(t, p); c.MapFull != 0 {
		t.Errorf("%d updates failed", c.MapFull)
	}
}

func counters(t *testing.T, p *Probes) Counters {
	t.Helper()
	c, err := p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// meetTwoCaches walks a namespace with a sock of IPv4 and one of IPv6.
func meetTwoCaches(t *testing.T, p *Probes) {
	t.Helper()
	n := private(t)
	in(t, n, func() error {
		for _, network := range []string{"tcp4", "tcp6"} {
			l, err := net.Listen(network, ":0")
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = l.Close() })
		}
		return nil
	})
	met := map[uint64]bool{}
	for _, e := range endpoints(t, p, n) {
		met[e.Cache] = true
	}
	if len(met) != 2 {
		t.Fatalf("%d caches met by the walk, want 2: the test would prove nothing", len(met))
	}
}
