package kernel

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// sysKernelSlab makes a tree like /sys/kernel/slab: directories, and symbolic links to them.
func sysKernelSlab(t *testing.T, directories []string, links map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for _, d := range directories {
		if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func slabsNamed(names ...string) map[string]Slab {
	slabs := map[string]Slab{}
	for _, n := range names {
		slabs[n] = Slab{Name: n}
	}
	return slabs
}

func TestMergedCachesLeadToTheListedName(t *testing.T) {
	root := sysKernelSlab(t, []string{":A-0000128", ":A-0000064", ":0000256", "TCP", "dentry"}, map[string]string{
		"eventpoll_epi":    ":A-0000128",
		"tcp_bind_bucket":  ":A-0000128",
		"tcp_bind2_bucket": ":A-0000128",
		"anon_vma_chain":   ":A-0000064",
		"eventpoll_pwq":    ":A-0000064",
		"unlisted":         ":0000256", // none of this group is in slabinfo
	})
	got := Aliases(root, slabsNamed("TCP", "dentry", "eventpoll_epi", "anon_vma_chain"))
	for name, want := range map[string]string{
		"TCP": "TCP", "dentry": "dentry",
		"eventpoll_epi": "eventpoll_epi", "tcp_bind_bucket": "eventpoll_epi", "tcp_bind2_bucket": "eventpoll_epi",
		"anon_vma_chain": "anon_vma_chain", "eventpoll_pwq": "anon_vma_chain",
		"unlisted": "",
	} {
		if got[name] != want {
			t.Errorf("%s leads to %q, want %q", name, got[name], want)
		}
	}
}

func TestLinksMayGiveAPathToTheirGroup(t *testing.T) {
	root := sysKernelSlab(t, []string{":0000064"}, map[string]string{
		"first": "./:0000064", "second": "../slab/:0000064"})
	if got := Aliases(root, slabsNamed("first"))["second"]; got != "first" {
		t.Errorf("second leads to %q, want first", got)
	}
}

func TestWithoutMergingEveryCacheIsItself(t *testing.T) {
	root := sysKernelSlab(t, []string{"eventpoll_epi", "tcp_bind_bucket"}, nil)
	want := map[string]string{"eventpoll_epi": "eventpoll_epi", "tcp_bind_bucket": "tcp_bind_bucket"}
	if got := Aliases(root, slabsNamed("eventpoll_epi", "tcp_bind_bucket")); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWithoutSysKernelSlabThereAreNoAliases(t *testing.T) {
	got := Aliases(filepath.Join(t.TempDir(), "none"), slabsNamed("TCP"))
	if got == nil || len(got) != 0 {
		t.Errorf("got %v, want an empty map", got)
	}
}

func TestRunningKernelsAliasesLeadToListedCaches(t *testing.T) {
	slabs, err := ReadSlabinfo()
	if err != nil {
		t.Fatal(err)
	}
	for name, listed := range Aliases("/sys/kernel/slab", slabs) {
		if _, ok := slabs[listed]; !ok {
			t.Errorf("%s leads to %s, which /proc/slabinfo does not list", name, listed)
		}
		if _, ok := slabs[name]; ok && listed != name {
			t.Errorf("%s is listed and yet leads to %s", name, listed)
		}
	}
}
