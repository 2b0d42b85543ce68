package format

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// None stands where a figure does not exist, such as a share of nothing.
const None = "–"

type integer interface {
	~int | ~int64 | ~uint64
}

// Count writes a whole number with thousands separators: 20,000.
func Count[T integer](n T) string {
	if n < 0 {
		return Group(strconv.FormatInt(int64(n), 10))
	}
	return Group(strconv.FormatUint(uint64(n), 10))
}

// Signed writes a whole number with its sign: +1,204, −3, 0.
func Signed(n int64) string {
	if n > 0 {
		return "+" + Count(n)
	}
	return Minus(Count(n))
}

// Minus replaces the hyphen of a negative number by the sign of the same width as a plus.
func Minus(s string) string {
	return strings.Replace(s, "-", "−", 1)
}

// Group puts a comma before each three digits of the whole part of a decimal number.
func Group(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	whole, fraction := s, ""
	if dot := strings.IndexByte(s, '.'); dot >= 0 {
		whole, fraction = s[:dot], s[dot:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return sign + whole + fraction
}

// Each writes total/n with one decimal, rounded from the exact quotient: a float64 would lose the last digits of the
// totals of very large runs.
func Each[N integer](total uint64, n N) string {
	if n <= 0 {
		return None
	}
	return Group(quotient(total, uint64(n), 1))
}

// quotient is num/den with so many decimals, halves rounded up. den must not be 0.
func quotient(num, den uint64, places int) string {
	r := new(big.Rat).SetFrac(new(big.Int).SetUint64(num), new(big.Int).SetUint64(den))
	return r.FloatString(places)
}

// Trimmed is quotient without trailing zeros: 1, 0.05.
func Trimmed(num, den uint64, places int) string {
	s := quotient(num, den, places)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// Ratio is num/den, and 0 where there is nothing to divide by.
func Ratio(num, den float64) float64 {
	if den == 0 || math.IsNaN(num) || math.IsNaN(den) || math.IsInf(num, 0) || math.IsInf(den, 0) {
		return 0
	}
	return num / den
}

var sizeUnits = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// Size writes bytes for reading: 912 B, 7.96 KiB, 158.3 MiB.
func Size(b float64) string {
	if math.IsNaN(b) || math.IsInf(b, 0) {
		return None
	}
	if b < 0 {
		return "−" + Size(-b)
	}
	unit := 0
	for b >= 1023.95 && unit < len(sizeUnits)-1 {
		b /= 1024
		unit++
	}
	places := 1
	switch {
	case unit == 0 && b == math.Trunc(b):
		places = 0
	case unit > 0 && b < 9.995:
		places = 2
	}
	return Group(strconv.FormatFloat(b, 'f', places, 64)) + " " + sizeUnits[unit]
}

// SignedSize is size with a plus before growth.
func SignedSize(b float64) string {
	if b > 0 {
		return "+" + Size(b)
	}
	return Size(b)
}

// Percent writes a share with one decimal; a share that is not nothing never reads as 0.0 %.
func Percent(part, whole float64) string {
	if whole == 0 {
		return None
	}
	p := 100 * Ratio(part, whole)
	if math.IsInf(p, 0) { // only a forged recording can
		return None
	}
	if p > 0 && p < 0.05 {
		return "<0.1 %"
	}
	return Minus(Group(strconv.FormatFloat(p, 'f', 1, 64))) + " %"
}

// SignedPercent is a change in percent with its sign.
func SignedPercent(change, base float64) string {
	if base == 0 {
		return None
	}
	p := 100 * Ratio(change, base)
	places := 1
	for small := 0.1; math.Abs(p) < small && places < 4; small /= 10 { // the first digit that is not 0
		places++
	}
	s := Group(strconv.FormatFloat(p, 'f', places, 64)) + " %"
	switch {
	case p == 0:
		return "0 %"
	case p > 0 && p < 0.00005:
		return "<+0.0001 %"
	case p < 0 && p > -0.00005:
		return ">−0.0001 %"
	case p > 0:
		return "+" + s
	}
	return Minus(s)
}

// Seconds writes a duration in seconds with the precision that its length deserves.
func Seconds(s float64) string {
	if math.IsNaN(s) || math.IsInf(s, 0) {
		return None
	}
	places := 1
	if s < 10 {
		places = 2
	}
	if s < 0.1 {
		places = 3
	}
	return Group(strconv.FormatFloat(s, 'f', places, 64)) + " s"
}

// Plain writes a float for another program: no separators, at most four decimals.
func Plain(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return ""
	}
	if math.Abs(f) < 1e15 { // beyond it a float has no decimals to round, and the product may overflow
		f = math.Round(f*1e4) / 1e4
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// Plural writes a count and its noun.
func Plural[T integer](n T, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + many
}

// Decimal writes a float with one decimal and thousands separators.
func Decimal(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return None
	}
	return Minus(Group(strconv.FormatFloat(f, 'f', 1, 64)))
}
