package kernel

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDyingCgroupsAreThoseOfTheRoot(t *testing.T) {
	for text, want := range map[string]struct {
		n     int64
		known bool
	}{
		"nr_descendants 12\nnr_dying_descendants 3\nnr_subsys_cpu 4\n": {3, true},
		"nr_descendants 12\nnr_dying_descendants 0\n":                  {0, true},
		"nr_descendants 12\n":         {},
		"nr_dying_descendants many\n": {},
		"":                            {},
	} {
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "cgroup.stat"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, known := dyingBelow(root); n != want.n || known != want.known {
			t.Errorf("%q: %d, %t, want %+v", text, n, known, want)
		}
	}
	if n, known := dyingBelow(t.TempDir()); known {
		t.Errorf("%d by no file", n)
	}
}
