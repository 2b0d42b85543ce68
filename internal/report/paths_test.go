package report

import (
	"math"
	"testing"
)

func TestScalingRoundsAndDoesNotOverflow(t *testing.T) {
	for _, c := range []struct {
		bytes    uint64
		num, den int
		want     uint64
	}{
		{100, 2, 1, 200}, {3, 1, 2, 2}, {7, 0, 5, 7}, {7, 5, 0, 7},
		{math.MaxUint64, 3, 2, math.MaxUint64},
		{math.MaxUint64 / 2 * 2, 1, 2, math.MaxUint64 / 2},
	} {
		if got := scale(c.bytes, c.num, c.den); got != c.want {
			t.Errorf("%d × %d/%d = %d, want %d", c.bytes, c.num, c.den, got, c.want)
		}
	}
}
