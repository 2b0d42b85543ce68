package format

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Clean makes text of a recording safe to print: control characters could drive the reader's terminal or break a
// table's lines.
func Clean(s string) string {
	if !strings.ContainsFunc(s, unprintable) && utf8.ValidString(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unprintable(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

func unprintable(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// Cell makes a name fit for a cell of CSV: a spreadsheet runs what begins with one of these characters, and takes what is
// behind an apostrophe for text.
func Cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// Columns is how many columns of a terminal a text takes: characters of East Asian scripts take two, and marks on another
// character none.
func Columns(s string) int {
	n := 0
	for _, r := range s {
		n += columns(r)
	}
	return n
}

func columns(r rune) int {
	if r < 0x300 { // the first that is not one wide
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Shorten cuts text to so many columns, the last an ellipsis.
func Shorten(s string, limit int) string {
	n, cut := 0, 0
	for i, r := range s {
		w := columns(r)
		if n+w <= limit-1 {
			cut = i + utf8.RuneLen(r)
		}
		if n += w; n > limit {
			return s[:cut] + "…"
		}
	}
	return s
}

// Head is the beginning of a text that fits into so many columns, at least one character of it.
func Head(s string, limit int) string {
	n := 0
	for i, r := range s {
		if n += columns(r); n > limit && i > 0 {
			return s[:i]
		}
	}
	return s
}

// Command joins a command as a shell would take it.
func Command(args []string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = Clean(arg)
		if arg == "" || strings.ContainsAny(arg, " \t\n\"'`$\\*?[]{}()<>|&;#~") {
			quoted[i] = "'" + strings.ReplaceAll(quoted[i], "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
