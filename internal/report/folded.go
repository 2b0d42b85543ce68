package report

import (
	"bufio"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/connprof/connprof/internal/recording"
)

// Folded writes the call paths as Brendan Gregg's flamegraph.pl and its many relatives read them: one line a path,
// role;frame;...;type and its page bytes.
func Folded(w io.Writer, r *recording.Recording) error {
	return writeFolded(w, pathsOf(r), func(v folded) string { return fmt.Sprint(v.bytes) })
}

// DiffFolded writes the call paths of two recordings as difffolded.pl does: path, old page bytes, new page bytes. Where
// the numbers of endpoints differ, the old bytes are scaled to the new number.
func DiffFolded(w io.Writer, older, newer *recording.Recording) error {
	return writeFolded(w, diffPaths(older, newer), func(v folded) string { return fmt.Sprintf("%d %d", v.old, v.bytes) })
}

type folded struct{ old, bytes uint64 }

// writeFolded merges again: names that differ only in what the format cannot hold are one name now, and so is a type
// that is in two caches.
func writeFolded(w io.Writer, paths []*path, value func(folded) string) error {
	sums := map[string]folded{}
	for _, p := range paths {
		line := foldedLine(p)
		v := sums[line]
		sums[line] = folded{v.old + p.oldBytes, v.bytes + p.bytes}
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

func foldedLine(p *path) string {
	names := []string{foldedName(p.role.String())}
	for _, frame := range p.frames {
		names = append(names, foldedName(frame))
	}
	return strings.Join(append(names, foldedName(p.objectType)), ";")
}
