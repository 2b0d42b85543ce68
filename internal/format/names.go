package format

import (
	"strings"
	"unicode"
	"unicode/utf8"
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

// Shorten cuts text to so many characters, the last an ellipsis.
func Shorten(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
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
