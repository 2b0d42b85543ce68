// Package layout holds the rule of who may import whom: the table in docs/reference/architecture.md, which people read, is
// the one that its test holds the code against. tools/diagram draws it. It imports nothing of the project.
package layout

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Module is the path that all packages of the project begin with.
const Module = "github.com/connprof/connprof"

// Any allows every import, in place of a list of packages.
const Any = "any"

const (
	begin = "<!-- begin: who may import whom"
	end   = "<!-- end: who may import whom"
)

// Table has the packages that each package may import; paths are below Module. "test/..." stands for all below test/.
type Table map[string][]string

// Read takes the table out of a page in Markdown: package, what it is, what it may import, each name in back quotes.
func Read(page io.Reader) (Table, error) {
	table, inside := Table{}, false
	lines := bufio.NewScanner(page)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, begin):
			inside = true
		case strings.HasPrefix(line, end):
			return table, table.check()
		case inside && strings.HasPrefix(line, "| `"):
			cells := strings.Split(line, "|")
			if len(cells) != 5 {
				return nil, fmt.Errorf("read the row %q: %d cells in place of 3", line, len(cells)-2)
			}
			name := quoted(cells[1])
			if len(name) != 1 || table[name[0]] != nil {
				return nil, fmt.Errorf("read the row %q: it names no package, two, or one that has a row already", line)
			}
			table[name[0]] = quoted(cells[3])
		}
	}
	return nil, fmt.Errorf("read the table of packages: no line begins with %q", end)
}

// quoted returns what stands between back quotes.
func quoted(cell string) []string {
	names := []string{}
	for i, part := range strings.Split(cell, "`") {
		if i%2 == 1 {
			names = append(names, part)
		}
	}
	return names
}

// check refuses a table that allows a package without a row, or arrows in a circle.
func (t Table) check() error {
	for _, name := range slices.Sorted(maps.Keys(t)) {
		for _, to := range t[name] {
			if to != Any && t[to] == nil {
				return fmt.Errorf("%s may import %s, which has no row", name, to)
			}
		}
		if t.reaches(name, name) {
			return fmt.Errorf("the arrows from %s lead back to it", name)
		}
	}
	return nil
}

// reaches tells whether arrows lead from one package to another.
func (t Table) reaches(from, to string) bool {
	for _, next := range t[from] {
		if next == to || next != Any && t.reaches(next, to) {
			return true
		}
	}
	return false
}

// Direct returns the arrows of a package that no others imply: those that a drawing needs.
func (t Table) Direct(name string) []string {
	var direct []string
	for _, to := range t[name] {
		implied := slices.ContainsFunc(t[name], func(over string) bool { return over != to && t.reaches(over, to) })
		if to != Any && !implied {
			direct = append(direct, to)
		}
	}
	slices.Sort(direct)
	return direct
}

// row returns the name under which the table has a package: its own, or that of a directory above it.
func (t Table) row(name string) (string, bool) {
	if t[name] != nil {
		return name, true
	}
	for dir := name; strings.Contains(dir, "/"); {
		dir = dir[:strings.LastIndex(dir, "/")]
		if t[dir+"/..."] != nil {
			return dir + "/...", true
		}
	}
	return "", false
}

// Allows says in an error why a package may not import another one; both are below Module.
func (t Table) Allows(name, to string) error {
	from, known := t.row(name)
	if !known {
		return fmt.Errorf("%s has no row in the table", name)
	}
	target, known := t.row(to)
	if !known {
		return fmt.Errorf("%s imports %s, which has no row in the table", name, to)
	}
	if from == target || slices.Contains(t[from], target) || slices.Contains(t[from], Any) {
		return nil
	}
	return fmt.Errorf("%s imports %s, and may import only %s", name, to, strings.Join(t[from], ", "))
}
