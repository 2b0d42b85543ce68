package format

import (
	"math"
	"testing"
)

func TestNumbersReadAsWritten(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Count(0), "0"},
		{Count(999), "999"},
		{Count(20_000), "20,000"},
		{Count(-1_234_567), "-1,234,567"},
		{Count(uint64(math.MaxUint64)), "18,446,744,073,709,551,615"},
		{Signed(412), "+412"},
		{Signed(-12), "−12"},
		{Signed(0), "0"},
		{Size(0), "0 B"},
		{Size(912), "912 B"},
		{Size(862.3), "862.3 B"},
		{Size(1024), "1.00 KiB"},
		{Size(8208.2), "8.02 KiB"},
		{Size(10 * 1024), "10.0 KiB"},
		{Size(158 << 20), "158.0 MiB"},
		{Size(1 << 40), "1.00 TiB"},
		{Size(-2048), "−2.00 KiB"},
		{Size(math.NaN()), None},
		{Size(1024*1024 - 1), "1.00 MiB"},
		{Percent(1, 3), "33.3 %"},
		{Percent(1, 1e6), "<0.1 %"},
		{Percent(1, 0), None},
		{SignedPercent(1.6, 158), "+1.0 %"},
		{SignedPercent(-5, 100), "−5.0 %"},
		{SignedPercent(-1, 1e6), "−0.0001 %"},
		{SignedPercent(1, 1e9), "<+0.0001 %"},
		{SignedPercent(-6, 1e5), "−0.006 %"},
		{SignedPercent(0, 5), "0 %"},
		{Seconds(0.0441), "0.044 s"},
		{Seconds(22.04), "22.0 s"},
		{Plain(4171.30001), "4171.3"},
		{Plain(math.Inf(1)), ""},
		{Plain(1e305)[:3], "100"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestDivisionIsExactWhereAFloatIsNot(t *testing.T) {
	// 2^64−1 over 10: a float64 has lost the last digits.
	if got, want := Each(uint64(math.MaxUint64), 10), "1,844,674,407,370,955,161.5"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := Each(50_412_000, 20_000); got != "2,520.6" {
		t.Errorf("got %s, want 2,520.6", got)
	}
	if got := Each(5, 0); got != None {
		t.Errorf("division by nothing gave %s", got)
	}
}
