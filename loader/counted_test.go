package loader

import (
	"math"
	"testing"
)

func TestACounterBelowZeroIsNoFourGigabytes(t *testing.T) {
	for raw, want := range map[uint32]uint32{0: 0, 1: 1, math.MaxInt32: math.MaxInt32, math.MaxUint32: 0, 1 << 31: 0} {
		if got := counted(raw); got != want {
			t.Errorf("%d is %d, want %d", raw, got, want)
		}
	}
}
