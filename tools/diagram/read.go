package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/connprof/connprof/test/layout"
)

// box stands in a row and in the columns from first to last.
type box struct{ row, first, last int }

// flow is an arrow of data.
type flow struct{ from, to, what string }

// diagram is what the two texts say.
type diagram struct {
	boxes map[string]box
	flows []flow
	table layout.Table
}

func read(page, boxes string) (*diagram, error) {
	text, err := os.Open(page)
	if err != nil {
		return nil, err
	}
	defer text.Close()
	d := &diagram{boxes: map[string]box{}}
	if d.table, err = layout.Read(text); err != nil {
		return nil, fmt.Errorf("%s: %w", page, err)
	}
	places, err := os.Open(boxes)
	if err != nil {
		return nil, err
	}
	defer places.Close()
	if err := d.place(places); err != nil {
		return nil, fmt.Errorf("%s: %w", boxes, err)
	}
	return d, nil
}

// place reads where the boxes stand, and what flows between them.
func (d *diagram) place(text io.Reader) error {
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		line := lines.Text()
		var b box
		var name string
		if n, _ := fmt.Sscanf(line, "box %d %d-%d %s", &b.row, &b.first, &b.last, &name); n == 4 {
			if name[0] == '"' {
				_, _ = fmt.Sscanf(line, "box %d %d-%d %q", &b.row, &b.first, &b.last, &name)
			}
			d.boxes[name] = b
		} else if words := inQuotes(line); len(words) == 4 && words[0] == "flow" {
			d.flows = append(d.flows, flow{words[1], words[2], words[3]})
		} else if line != "" && line[0] != '#' {
			return fmt.Errorf("the line %q is neither a box nor a flow", line)
		}
	}
	return d.complete()
}

// inQuotes divides a line at blanks that do not stand in quotes.
func inQuotes(line string) []string {
	quoted := false
	words := strings.FieldsFunc(line, func(r rune) bool {
		quoted = quoted != (r == '"')
		return r == ' ' && !quoted
	})
	for i, word := range words {
		words[i] = strings.Trim(word, `"`)
	}
	return words
}

// complete refuses a picture that leaves out a package of the table, or has one that is not there.
func (d *diagram) complete() error {
	for name := range d.table {
		if _, drawn := d.boxes[name]; !drawn && !strings.HasSuffix(name, "/...") {
			return fmt.Errorf("%s has a row in the table and no box", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.boxes)) {
		if _, known := d.table[name]; !known && !strings.Contains(name, " ") {
			return fmt.Errorf("%s has a box and no row in the table", name)
		}
	}
	for _, f := range d.flows {
		for _, name := range []string{f.from, f.to} {
			if _, drawn := d.boxes[name]; !drawn {
				return fmt.Errorf("a flow leads from %s to %s, and %s has no box", f.from, f.to, name)
			}
		}
	}
	return nil
}
