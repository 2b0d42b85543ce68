package export

import (
	"bufio"
	"fmt"
	"io"
	"sort"
	"strings"
	"unicode"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/report"
)

// Folded writes the call paths as Brendan Gregg's flamegraph.pl and its many relatives read them: one line a path,
// role;frame;...;type and its page bytes. Of a look at a host the lines are owner;state;object and its bytes.
type Folded struct{}

// Write sorts the lines.
func (Folded) Write(w io.Writer, r *report.Report) error {
	return writeFolded(w, r.Samples(), func(v folded) string { return fmt.Sprint(v.bytes) })
}

// WriteDiff writes lines as difffolded.pl does: path, old page bytes, new page bytes. Where the numbers of endpoints differ,
// the old bytes are scaled to the new number.
func (Folded) WriteDiff(w io.Writer, d *report.Diff) error {
	return writeFolded(w, d.Paths, func(v folded) string { return fmt.Sprintf("%d %d", v.old, v.bytes) })
}

type folded struct{ old, bytes uint64 }

// writeFolded merges again: names that differ only in what the format cannot hold are one name now, and so is a type
// that is in two caches.
func writeFolded(w io.Writer, paths []*report.Path, value func(folded) string) error {
	sums := map[string]folded{}
	for _, p := range paths {
		line := foldedLine(p)
		v := sums[line]
		sums[line] = folded{v.old + p.OldBytes, v.bytes + p.Bytes}
	}
	lines := make([]string, 0, len(sums))
	for line := range sums {
		lines = append(lines, line)
	}
	sort.Strings(lines)
	out := bufio.NewWriter(w)
	for _, line := range lines {
		fmt.Fprintf(out, "%s %s\n", line, value(sums[line]))
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write folded stacks: %w", err)
	}
	return nil
}

func foldedLine(p *report.Path) string {
	names := p.Stack()
	for i := range names {
		names[i] = foldedName(names[i])
	}
	return strings.Join(names, ";")
}

// foldedName makes a name fit the folded format, where ; parts frames and the last blank parts off the value.
func foldedName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == ';' || unicode.IsSpace(r) || unicode.IsControl(r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(s, "_"))
	if s == "" {
		return "_"
	}
	return format.Clean(s)
}
