package kernel

import "testing"

func TestEveryCacheOfATypeIsSettled(t *testing.T) {
	names := map[string]bool{}
	for _, n := range countedCaches() {
		names[n] = true
	}
	for typ := range Types {
		for _, c := range Types[typ].Caches {
			if !names[c] {
				t.Errorf("%s is not", c)
			}
		}
	}
	if !names["kmalloc-192"] || len(names) < 20 {
		t.Errorf("only %v", names)
	}
}
