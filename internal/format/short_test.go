package format

import (
	"math"
	"testing"
)

func TestNarrowColumnsKeepTheFigure(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Compact(0), "0"},
		{Compact(912), "912"},
		{Compact(862.3), "862"},
		{Compact(8208.2), "8.02K"},
		{Compact(158.3 * (1 << 20)), "158M"},
		{Compact(813.5 * 1024), "814K"},
		{Compact(15.8 * (1 << 20)), "15.8M"},
		{Compact(1023 * (1 << 30)), "1,023G"},
		{Compact(-2048), "−2.00K"},
		{Compact(math.NaN()), None},
		{Span(0.2), "0 s"},
		{Span(59.9), "59 s"},
		{Span(60), "1 min"},
		{Span(7300), "2 h"},
		{Span(5 * 86400), "5 d"},
		{Span(-1), None},
		{Span(math.Inf(1)), None},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
