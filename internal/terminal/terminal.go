// Package terminal writes lines, paragraphs and tables for a terminal of so many columns, with colours or without. It imports
// package format and the standard library.
package terminal

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/connprof/connprof/internal/format"
)

// Width is what reports for a terminal keep to, in columns.
const Width = 100

// Style is how a text looks in colour. Without colours all look the same.
type Style string

// The styles.
const (
	Normal  Style = ""
	Bold    Style = "\x1b[1m"
	Dim     Style = "\x1b[2m"
	Warning Style = "\x1b[33m"
	Good    Style = "\x1b[32m"
	Blue    Style = "\x1b[34m"
)

const reset = "\x1b[0m"

// Warn is the style of a warning where there is one, and another where there is none.
func Warn(warn bool, otherwise Style) Style {
	if warn {
		return Warning
	}
	return otherwise
}

// Writer writes styled lines. Its buffer keeps the first error for Flush, so that a report need not check each line.
type Writer struct {
	Width int // in columns
	out   *bufio.Writer
	color bool
}

// New is a writer to w that keeps to a width.
func New(w io.Writer, width int, color bool) *Writer {
	return &Writer{Width: width, out: bufio.NewWriter(w), color: color}
}

// Flush writes what is left, and returns the first error of all.
func (t *Writer) Flush() error {
	if err := t.out.Flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Styled wraps text in a style; padding must be done before, because escape sequences have no width.
func (t *Writer) Styled(s Style, text string) string {
	if !t.color || s == Normal || text == "" {
		return text
	}
	return string(s) + text + reset
}

// Line writes its parts without blanks at the end.
func (t *Writer) Line(parts ...string) {
	t.out.WriteString(strings.TrimRight(strings.Join(parts, ""), " "))
	t.out.WriteByte('\n')
}

// Section starts a part of the report: its title, and beside it what the title leaves open.
func (t *Writer) Section(title, aside string) {
	t.Line()
	if aside != "" {
		aside = "  " + aside
	}
	t.Line(t.Styled(Bold, title), t.Styled(Dim, aside))
}

// Label starts what one of several has in a section; more says that another went before. Without a label there is no line.
func (t *Writer) Label(label string, more bool) {
	if label == "" {
		return
	}
	if more {
		t.Line()
	}
	t.Line("  ", t.Styled(Bold, label))
}

// KeyWidth is the width of a fact's key.
const KeyWidth = 15

// Fact writes a key and, beside it, its value.
func (t *Writer) Fact(key, value string, s Style) {
	for _, text := range Wrap(value, t.Width-KeyWidth-2) {
		t.Line("  ", t.Styled(Dim, Pad(key, KeyWidth, false)), t.Styled(s, text))
		key = ""
	}
}

// Paragraph writes a text over as many lines as it needs.
func (t *Writer) Paragraph(s Style, text string) { t.Indented(2, s, text) }

// Indented is Paragraph with so many blanks before each line.
func (t *Writer) Indented(blanks int, s Style, text string) {
	for _, line := range Wrap(text, t.Width-blanks) {
		t.Line(strings.Repeat(" ", blanks), t.Styled(s, line))
	}
}

// Bullet writes a text with a mark before its first line.
func (t *Writer) Bullet(text string) {
	mark := "· "
	for _, line := range Wrap(text, t.Width-4) {
		t.Line("  ", mark, line)
		mark = "  "
	}
}

// Pad fills a text up to a width, on its left where it is to stand on the right.
func Pad(s string, width int, right bool) string {
	blanks := strings.Repeat(" ", max(width-format.Columns(s), 0))
	if right {
		return blanks + s
	}
	return s + blanks
}

// Wrap breaks a sentence into lines of at most width columns, at blanks where it can.
func Wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(format.Clean(s)) {
		for format.Columns(word) > width {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			head := format.Head(word, width)
			lines, word = append(lines, head), word[len(head):]
		}
		switch {
		case line == "":
			line = word
		case format.Columns(line)+1+format.Columns(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

var eighths = []rune(" ▏▎▍▌▋▊▉")

// Bar draws a fraction from 0 to 1 over so many characters, to an eighth of one; what is not nothing shows.
func Bar(fraction float64, width int) string {
	fraction = min(max(fraction, 0), 1)
	n := int(fraction*float64(width)*8 + 0.5)
	if n == 0 && fraction > 0 {
		n = 1
	}
	s := strings.Repeat("█", n/8)
	if n%8 > 0 {
		s += string(eighths[n%8])
	}
	return s
}
