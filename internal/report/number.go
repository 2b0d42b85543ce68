package report

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// none stands where a figure does not exist, such as a share of nothing.
const none = "–"

type integer interface {
	~int | ~int64 | ~uint64
}

// count writes a whole number with thousands separators: 20,000.
func count[T integer](n T) string {
	if n < 0 {
		return group(strconv.FormatInt(int64(n), 10))
	}
	return group(strconv.FormatUint(uint64(n), 10))
}

// signed writes a whole number with its sign: +1,204, −3, 0.
func signed(n int64) string {
	if n > 0 {
		return "+" + count(n)
	}
	return minus(count(n))
}

// minus replaces the hyphen of a negative number by the sign of the same width as a plus.
func minus(s string) string {
	return strings.Replace(s, "-", "−", 1)
}

// group puts a comma before each three digits of the whole part of a decimal number.
func group(s string) string {
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

// each writes total/n with one decimal, rounded from the exact quotient: a float64 would lose the last digits of the
// totals of very large runs.
func each[N integer](total uint64, n N) string {
	if n <= 0 {
		return none
	}
	return group(quotient(total, uint64(n), 1))
}

// quotient is num/den with so many decimals, halves rounded up. den must not be 0.
func quotient(num, den uint64, places int) string {
	r := new(big.Rat).SetFrac(new(big.Int).SetUint64(num), new(big.Int).SetUint64(den))
	return r.FloatString(places)
}

// trimmed is quotient without trailing zeros: 1, 0.05.
func trimmed(num, den uint64, places int) string {
	s := quotient(num, den, places)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// ratio is num/den, and 0 where there is nothing to divide by.
func ratio(num, den float64) float64 {
	if den == 0 || math.IsNaN(num) || math.IsNaN(den) || math.IsInf(num, 0) || math.IsInf(den, 0) {
		return 0
	}
	return num / den
}

var sizeUnits = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// size writes bytes for reading: 912 B, 7.96 KiB, 158.3 MiB.
func size(b float64) string {
	if math.IsNaN(b) || math.IsInf(b, 0) {
		return none
	}
	if b < 0 {
		return "−" + size(-b)
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
	return group(strconv.FormatFloat(b, 'f', places, 64)) + " " + sizeUnits[unit]
}

// signedSize is size with a plus before growth.
func signedSize(b float64) string {
	if b > 0 {
		return "+" + size(b)
	}
	return size(b)
}

// percent writes a share with one decimal; a share that is not nothing never reads as 0.0 %.
func percent(part, whole float64) string {
	if whole == 0 {
		return none
	}
	p := 100 * ratio(part, whole)
	if math.IsInf(p, 0) { // only a forged recording can
		return none
	}
	if p > 0 && p < 0.05 {
		return "<0.1 %"
	}
	return minus(group(strconv.FormatFloat(p, 'f', 1, 64))) + " %"
}

// signedPercent is a change in percent with its sign.
func signedPercent(change, base float64) string {
	if base == 0 {
		return none
	}
	p := 100 * ratio(change, base)
	places := 1
	for small := 0.1; math.Abs(p) < small && places < 4; small /= 10 { // the first digit that is not 0
		places++
	}
	s := group(strconv.FormatFloat(p, 'f', places, 64)) + " %"
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
	return minus(s)
}

// seconds writes a duration in seconds with the precision that its length deserves.
func seconds(s float64) string {
	if math.IsNaN(s) || math.IsInf(s, 0) {
		return none
	}
	places := 1
	if s < 10 {
		places = 2
	}
	if s < 0.1 {
		places = 3
	}
	return group(strconv.FormatFloat(s, 'f', places, 64)) + " s"
}

// plain writes a float for another program: no separators, at most four decimals.
func plain(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return ""
	}
	return strconv.FormatFloat(math.Round(f*1e4)/1e4, 'f', -1, 64)
}

// plural writes a count and its noun.
func plural[T integer](n T, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// toInt64 is for formats that hold signed figures: what does not fit becomes the largest that does.
func toInt64(u uint64) int64 {
	if u > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(u)
}

// scale is b × num/den, rounded, for bringing two runs of different size onto one scale.
func scale(b uint64, num, den int) uint64 {
	if num <= 0 || den <= 0 || num == den {
		return b
	}
	product := new(big.Int).Mul(new(big.Int).SetUint64(b), big.NewInt(int64(num)))
	product.Add(product, big.NewInt(int64(den)/2))
	product.Div(product, big.NewInt(int64(den)))
	if !product.IsUint64() {
		return math.MaxUint64
	}
	return product.Uint64()
}

// decimal1 writes a float with one decimal and thousands separators.
func decimal1(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return none
	}
	return minus(group(strconv.FormatFloat(f, 'f', 1, 64)))
}
