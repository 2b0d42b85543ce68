package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// textWidth is what a report for the terminal keeps to, in characters.
const textWidth = 100

type style string

const (
	normal  style = ""
	bold    style = "\x1b[1m"
	dim     style = "\x1b[2m"
	warning style = "\x1b[33m"
	good    style = "\x1b[32m"
	blue    style = "\x1b[34m"
)

const reset = "\x1b[0m"

// terminal writes styled lines; the buffer keeps the first error for flush, so that a report need not check each line.
type terminal struct {
	out   *bufio.Writer
	color bool
}

func newTerminal(w io.Writer, color bool) *terminal {
	return &terminal{out: bufio.NewWriter(w), color: color}
}

func (t *terminal) flush() error {
	if err := t.out.Flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// styled wraps text in a style; padding must be done before, because escape sequences have no width.
func (t *terminal) styled(s style, text string) string {
	if !t.color || s == normal || text == "" {
		return text
	}
	return string(s) + text + reset
}

func (t *terminal) line(parts ...string) {
	t.out.WriteString(strings.TrimRight(strings.Join(parts, ""), " "))
	t.out.WriteByte('\n')
}

// section starts a part of the report: its title, and beside it what the title leaves open.
func (t *terminal) section(title, aside string) {
	t.line()
	if aside != "" {
		aside = "  " + aside
	}
	t.line(t.styled(bold, title), t.styled(dim, aside))
}

// machine starts what one of two machines has in a section; there is no such line where the recording is of one.
func (t *terminal) machine(label string, more bool) {
	if label == "" {
		return
	}
	if more {
		t.line()
	}
	t.line("  ", t.styled(bold, label))
}

const keyWidth = 15

func (t *terminal) fact(f fact) { t.styledFact(f, warnStyle(f.Warn, normal)) }

func (t *terminal) styledFact(f fact, s style) {
	for i, text := range wrap(f.Value, textWidth-keyWidth-2) {
		key := ""
		if i == 0 {
			key = f.Key
		}
		t.line("  ", t.styled(dim, pad(key, keyWidth, false)), t.styled(s, text))
	}
}

func (t *terminal) paragraph(s style, text string) {
	for _, text := range wrap(text, textWidth-2) {
		t.line("  ", t.styled(s, text))
	}
}

func pad(s string, width int, right bool) string {
	blanks := strings.Repeat(" ", max(width-utf8.RuneCountInString(s), 0))
	if right {
		return blanks + s
	}
	return s + blanks
}

// column is a table's column; limit cuts names that would break the page, 0 is no limit.
type column struct {
	title string
	right bool
	limit int
}

type cell struct {
	text  string
	style style
}

type table struct {
	columns []column
	rows    [][]cell // a nil row is a rule
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

func (t *table) rule() { t.rows = append(t.rows, nil) }

func (t *table) widths() []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c.title)
	}
	for _, row := range t.rows {
		for i := range row {
			if limit := t.columns[i].limit; limit > 0 {
				row[i].text = shorten(row[i].text, limit)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
	}
	return widths
}

// table prints titles and rows.
func (t *terminal) table(tab *table) {
	t.heads(tab, tab.widths())
	t.rows(tab)
}

func (t *terminal) heads(tab *table, widths []int) {
	heads := make([]cell, len(tab.columns))
	for i, c := range tab.columns {
		heads[i] = cell{c.title, dim}
	}
	t.cells(tab, widths, heads)
}

func (t *terminal) rows(tab *table) {
	widths := tab.widths()
	total := 0
	for _, width := range widths {
		total += width + 2
	}
	for _, row := range tab.rows {
		if row == nil {
			t.line("  ", t.styled(dim, strings.Repeat("─", total-2)))
			continue
		}
		t.cells(tab, widths, row)
	}
}

func (t *terminal) cells(tab *table, widths []int, row []cell) {
	parts := make([]string, 0, len(row))
	for i, c := range row {
		parts = append(parts, "  ", t.styled(c.style, pad(c.text, widths[i], tab.columns[i].right)))
	}
	t.line(parts...)
}

var eighths = []rune(" ▏▎▍▌▋▊▉")

// bar draws a fraction from 0 to 1 over so many characters, to an eighth of one; what is not nothing shows.
func bar(fraction float64, width int) string {
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
