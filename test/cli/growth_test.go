//go:build vm

package cli

import (
	"strconv"
	"testing"

	"github.com/connprof/connprof/test/check"
)

// The account explains the growth of the kernel's slab memory. It is the growth of all that runs: these tests are for the virtual
// machines, where nothing else does.

const (
	// growthConns take some 50 MB, and the bound leaves 1.5 MB. What lies with the CPUs in slabs that are not full, and what else
	// a machine does in that time, was 0.05 to 0.3 MB. Two programs with one emulated processor take longer: betweenGrowth.
	growthConns    = 6_000
	betweenGrowth  = 3_000
	maxUnexplained = 0.03
)

func TestGrowthOfTheMainJobIsExplained(t *testing.T) {
	holds(t, check.Settled())
	m := counted(t, command(t, "run", "--ips", "20", "--conns", strconv.Itoa(growthConns)), growthConns)
	t.Logf("%+.4f unexplained of %d bytes", m.Reconcile.UnexplainedRatio, m.Reconcile.SlabDeltaBytes)
	holds(t, check.Growth(m, maxUnexplained))
}

func TestGrowthOfRunsBetweenTwoHostsIsExplained(t *testing.T) {
	p, ok := newPair(t)
	if !ok {
		t.Fatal("this kernel has no virtual Ethernet")
	}
	p.netup(t, "10.79.1.1/16")
	for _, scheme := range []struct {
		name       string
		ips, ports int
	}{{"20 addresses", 20, 1}, {"20 ports", 1, 20}} {
		t.Run(scheme.name, func(t *testing.T) {
			holds(t, check.Settled())
			rec := p.large(t, scheme.ips, scheme.ports, betweenGrowth)
			holds(t, check.Growth(rec.Machines[0], maxUnexplained))
		})
	}
}
