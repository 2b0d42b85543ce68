package report

import (
	"math"
	"testing"
)

func TestNumbersReadAsWritten(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{count(0), "0"},
		{count(999), "999"},
		{count(20_000), "20,000"},
		{count(-1_234_567), "-1,234,567"},
		{count(uint64(math.MaxUint64)), "18,446,744,073,709,551,615"},
		{signed(412), "+412"},
		{signed(-12), "−12"},
		{signed(0), "0"},
		{size(0), "0 B"},
		{size(912), "912 B"},
		{size(862.3), "862.3 B"},
		{size(1024), "1.00 KiB"},
		{size(8208.2), "8.02 KiB"},
		{size(10 * 1024), "10.0 KiB"},
		{size(158 << 20), "158.0 MiB"},
		{size(1 << 40), "1.00 TiB"},
		{size(-2048), "−2.00 KiB"},
		{size(math.NaN()), none},
		{size(1024*1024 - 1), "1.00 MiB"},
		{percent(1, 3), "33.3 %"},
		{percent(1, 1e6), "<0.1 %"},
		{percent(1, 0), none},
		{signedPercent(1.6, 158), "+1.0 %"},
		{signedPercent(-5, 100), "−5.0 %"},
		{signedPercent(-1, 1e6), "−0.0001 %"},
		{signedPercent(1, 1e9), "<+0.0001 %"},
		{signedPercent(-6, 1e5), "−0.006 %"},
		{signedPercent(0, 5), "0 %"},
		{seconds(0.0441), "0.044 s"},
		{seconds(22.04), "22.0 s"},
		{plain(4171.30001), "4171.3"},
		{plain(math.Inf(1)), ""},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestDivisionIsExactWhereAFloatIsNot(t *testing.T) {
	// 2^64−1 over 10: a float64 has lost the last digits.
	if got, want := each(uint64(math.MaxUint64), 10), "1,844,674,407,370,955,161.5"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := each(50_412_000, 20_000); got != "2,520.6" {
		t.Errorf("got %s, want 2,520.6", got)
	}
	if got := each(5, 0); got != none {
		t.Errorf("division by nothing gave %s", got)
	}
}

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
