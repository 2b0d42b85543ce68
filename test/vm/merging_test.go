//go:build vm

package vm

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/test/check"
	"github.com/connprof/connprof/test/vm/wire"
)

// The control experiment compares a run with another that has as many processes, threads and listeners, and next to no
// connections.
const (
	controlSmall = mainIPs
	controlLarge = 4000 + mainIPs
	unmerged     = "slab_nomerge"
)

// TestMergingChangesNoType runs the same under each kernel as it is and with slab_nomerge, which gives every type a cache
// of its own. Both accounts must be the same, and without merging the caches themselves must say so. Each run has a
// machine of its own, for what one leaves to RCU the next would count.
func TestMergingChangesNoType(t *testing.T) {
	needQemu(t)
	dir := t.TempDir()
	files := map[string]string{"/connprof": buildCommand(t, dir, "./cmd/connprof"),
		"/census": buildCommand(t, dir, "./test/census")}
	forEachKernel(t, func(t *testing.T, version string) {
		merged := takeCensus(t, version, "merged", "", controlLarge, files)
		large := takeCensus(t, version, "unmerged", unmerged, controlLarge, files)
		small := takeCensus(t, version, "unmerged-small", unmerged, controlSmall, files)
		found := mergedTypes(merged.machine)
		t.Logf("types that share a cache when merging is on: %s", strings.Join(found, ", "))
		if len(found) == 0 {
			t.Error("no type shares a cache: this kernel does not merge, and there is nothing to compare")
		}
		for what, err := range map[string]error{
			"the account with merging and without": checkMerging(merged, large),
			"the caches without merging":           checkOwnCaches(large.machine),
			"the account against the caches":       checkCensus(small, large),
		} {
			if err != nil {
				t.Errorf("%s:\n%v", what, err)
			}
		}
	})
}

// takeCensus boots a kernel, with more on its command line, and counts there while the connections are held.
func takeCensus(t *testing.T, version, label, more string, conns int, files map[string]string) census {
	t.Helper()
	result := bootKernel(t, version, version+"."+label, Config{Append: more, Files: files, Commands: []wire.Command{{
		Argv: []string{"/census", wire.OutDir, "/connprof", "run", "--ips", strconv.Itoa(mainIPs), "--conns",
			strconv.Itoa(conns)},
		TimeoutSeconds: commandTimeout.Seconds(),
	}}})
	if more != "" && !slices.Contains(strings.Fields(result.Boot.Cmdline), more) {
		t.Fatalf("the kernel's command line is %q, want %s in it", result.Boot.Cmdline, more)
	}
	for _, c := range result.Commands {
		checkEnd(t, c)
		if c.ExitCode != 0 {
			t.FailNow()
		}
	}
	m := readOne(t, result.Files, recordingName)
	if err := check.Load(m, conns); err != nil {
		t.Error(err)
	}
	return census{m, leastObjects(t, result)}
}

// leastObjects is how many objects of each cache were active in the count that found the fewest.
func leastObjects(t *testing.T, result *Result) map[string]int {
	t.Helper()
	least := map[string]int{}
	for name, text := range result.Files {
		if !strings.HasPrefix(name, "slabinfo.") {
			continue
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "slabinfo"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		slabs, err := kernel.SlabinfoBelow(dir)
		if err != nil {
			t.Fatal(err)
		}
		for cache, s := range slabs {
			if n, ok := least[cache]; !ok || int(s.ActiveObjects) < n {
				least[cache] = int(s.ActiveObjects)
			}
		}
	}
	return least
}
