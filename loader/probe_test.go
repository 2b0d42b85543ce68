package loader

import (
	"os"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
)

// bpfDescriptors counts the descriptors of this process that are of a kind: bpf-prog, bpf-map, bpf_link, or bpf for all.
// Nothing is pinned, so what is attached has one.
func bpfDescriptors(t *testing.T, kind string) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(to, kind) {
			n++
		}
	}
	return n
}

func TestProbeTellsEveryHooksRungAndLeavesNothingAttached(t *testing.T) {
	before := bpfDescriptors(t, "bpf")
	found := map[string]Feature{}
	for _, f := range Probe() {
		found[f.Name] = f
		if f.State != Present && f.State != Fallback {
			t.Errorf("a run works on this kernel, and %+v", f)
		}
		if f.State == Fallback && (f.Consequence == "" || f.Fix == "") {
			t.Errorf("%+v does not say what that means", f)
		}
	}
	if now := bpfDescriptors(t, "bpf"); now != before {
		t.Errorf("%d descriptors of BPF, %d before", now, before)
	}
	for _, name := range []string{"BTF", "ring buffer", "iterator tcp"} {
		if found[name].Detail == "" {
			t.Errorf("%s is not told", name)
		}
	}
	p := load(t, Config{})
	for _, h := range p.Hooks() {
		if f := found[hookName(hookPoint{name: h.Name})]; !strings.HasPrefix(f.Detail, string(h.Kind)+" "+h.Function) {
			t.Errorf("a run has hook %+v, the probe says %+v", h, f)
		}
	}
	if v, known := kernel.ConfigOption("CONFIG_KPROBES"); known && v == "n" && found["accept hook"].State != Fallback {
		t.Errorf("without kprobes: %+v", found["accept hook"])
	}
}
