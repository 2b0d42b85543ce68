//go:build vm

package cli

import (
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/connprof/connprof/internal/kernel"
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
	slabSettles(t)
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
			slabSettles(t)
			rec := p.large(t, scheme.ips, scheme.ports, betweenGrowth)
			holds(t, check.Growth(rec.Machines[0], maxUnexplained))
		})
	}
}

// slabSettles waits until the kernel has freed what earlier connections left. An orphan with unsent data goes when its timer says,
// and a socket's memory some time after the last list that names it; what is freed during a run makes its growth less.
func slabSettles(t *testing.T) {
	t.Helper()
	const step, most, steady = time.Second, 2 * time.Minute, 128 << 10
	for last, end := slabBytes(t), time.Now().Add(most); ; {
		time.Sleep(step)
		now, sockets := slabBytes(t), socketsAnywhere(t)
		if now+steady >= last && sockets == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %v there are %d TCP sockets, and slab memory went from %d bytes to %d in the last %v", most, sockets, last,
				now, step)
		}
		last = now
	}
}

func slabBytes(t *testing.T) uint64 {
	t.Helper()
	info, err := kernel.ReadMeminfo()
	if err != nil {
		t.Fatal(err)
	}
	return info["Slab"]
}

// socketsAnywhere is how many TCP sockets the kernel has in all network namespaces, those among them that are being taken down.
func socketsAnywhere(t *testing.T) int {
	t.Helper()
	stat, err := procfs.NewDefaultFS()
	if err != nil {
		t.Fatal(err)
	}
	all, err := stat.NetSockstat()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all.Protocols {
		if p.Protocol == "TCP" {
			return *p.Alloc
		}
	}
	t.Fatal("/proc/net/sockstat has no line for TCP")
	return 0
}
