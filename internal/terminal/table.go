package terminal

import (
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/format"
)

// Column is a table's column; Limit cuts names that would break the page, 0 is no limit.
type Column struct {
	Title string
	Right bool
	Limit int
}

// Cell is a text with its style.
type Cell struct {
	Text  string
	Style Style
}

// Cell is a cell of the style.
func (s Style) Cell(text string) Cell { return Cell{text, s} }

// Table is written by a Writer's methods, all at once or row by row.
type Table struct {
	Columns []Column
	Rows    [][]Cell // a nil row is a rule
}

// Add appends a row.
func (t *Table) Add(cells ...Cell) { t.Rows = append(t.Rows, cells) }

// Rule appends a line across the table.
func (t *Table) Rule() { t.Rows = append(t.Rows, nil) }

// Drop takes a column out.
func (t *Table) Drop(column int) {
	t.Columns = slices.Delete(t.Columns, column, column+1)
	for i, row := range t.Rows {
		if row != nil {
			t.Rows[i] = slices.Delete(row, column, column+1)
		}
	}
}

// Widths cuts what is beyond its column's limit and returns the columns' widths.
func (t *Table) Widths() []int {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = format.Columns(c.Title)
	}
	for _, row := range t.Rows {
		for i := range row {
			if limit := t.Columns[i].Limit; limit > 0 {
				row[i].Text = format.Shorten(row[i].Text, limit)
			}
			widths[i] = max(widths[i], format.Columns(row[i].Text))
		}
	}
	return widths
}

// Table writes titles and rows.
func (t *Writer) Table(tab *Table) {
	t.Heads(tab, tab.Widths())
	t.Rows(tab)
}

// Heads writes the titles of the columns.
func (t *Writer) Heads(tab *Table, widths []int) {
	heads := make([]Cell, len(tab.Columns))
	for i, c := range tab.Columns {
		heads[i] = Cell{c.Title, Dim}
	}
	t.Cells(tab, widths, heads)
}

// Rows writes a table without titles.
func (t *Writer) Rows(tab *Table) {
	widths := tab.Widths()
	total := 0
	for _, width := range widths {
		total += width + 2
	}
	for _, row := range tab.Rows {
		if row == nil {
			t.Line("  ", t.Styled(Dim, strings.Repeat("─", total-2)))
			continue
		}
		t.Cells(tab, widths, row)
	}
}

// Cells writes one row.
func (t *Writer) Cells(tab *Table, widths []int, row []Cell) {
	parts := make([]string, 0, len(row))
	for i, c := range row {
		parts = append(parts, "  ", t.Styled(c.Style, Pad(c.Text, widths[i], tab.Columns[i].Right)))
	}
	t.Line(parts...)
}
