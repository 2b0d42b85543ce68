package format

import (
	"math"
	"strconv"
	"strings"
)

// Compact is Size in a narrow column: 912, 7.96K, 158M.
func Compact(b float64) string {
	value, unit, found := strings.Cut(Size(b), " ")
	if !found {
		return value
	}
	if n, err := strconv.ParseFloat(strings.ReplaceAll(value, ",", ""), 64); err == nil && n >= 100 {
		value = Group(strconv.FormatFloat(n, 'f', 0, 64))
	}
	return value + strings.TrimSuffix(unit[:1], "B")
}

var spans = []struct {
	seconds float64
	unit    string
}{{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}}

// Span writes how long something has lasted, as precisely as one says it: 12 s, 3 min, 2 h, 5 d.
func Span(seconds float64) string {
	if math.IsNaN(seconds) || math.IsInf(seconds, 0) || seconds < 0 {
		return None
	}
	for _, s := range spans {
		if seconds >= s.seconds {
			return Group(strconv.FormatFloat(math.Floor(seconds/s.seconds), 'f', 0, 64)) + " " + s.unit
		}
	}
	return "0 s"
}
