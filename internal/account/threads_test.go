package account

import (
	"slices"
	"testing"
)

func TestCachesAreAskedForByTheirListedNamesOnce(t *testing.T) {
	got := Listed([]string{"task_struct", "pid", "vmap_area", "filp"}, map[string]string{"pid": "filp", "filp": "filp"})
	if want := []string{"task_struct", "filp", "vmap_area"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
