package layout

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const page = "../../docs/reference/architecture.md"

// listed is what go list says of a package.
type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func (p listed) name() string { return strings.TrimPrefix(p.ImportPath, Module+"/") }

// ofTests are the imports of the package's tests.
func (p listed) ofTests() []string { return slices.Concat(p.TestImports, p.XTestImports) }

// own keeps those of the project, by their paths below it, and leaves out the others.
func own(imports []string) []string {
	var names []string
	for _, path := range imports {
		if name, is := strings.CutPrefix(path, Module+"/"); is {
			names = append(names, name)
		}
	}
	return names
}

// forTests is what the tests of any package may import as well: real connections, in a network of their own, and made-up
// recordings.
var forTests = []string{"load", "netcfg", "test/...", "internal/report/sample"}

// packages lists the project's packages, those behind a build tag too.
func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-tags", "vm", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir, cmd.Stderr = "../..", os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal("go list:", err)
	}
	var found []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal("read what go list says:", err)
		}
		found = append(found, p)
	}
}

func theTable(t *testing.T) Table {
	t.Helper()
	file, err := os.Open(page)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	table, err := Read(file)
	if err != nil {
		t.Fatalf("%s: %v", page, err)
	}
	return table
}

func TestArrowsRunDownOnly(t *testing.T) {
	table, found := theTable(t), packages(t)
	if len(found) < 15 {
		t.Fatalf("go list has found %d packages only", len(found))
	}
	for _, p := range found {
		if _, known := table.row(p.name()); !known {
			t.Errorf("%s has no row in %s: give it one, with what it may import", p.name(), page)
		}
		for _, to := range own(p.Imports) {
			if err := table.Allows(p.name(), to); err != nil {
				t.Error(err)
			}
		}
		for _, to := range own(p.ofTests()) {
			target, _ := table.row(to)
			below := strings.HasPrefix(to, p.name()+"/")
			if err := table.Allows(p.name(), to); err != nil && !below && !slices.Contains(forTests, target) {
				t.Error("a test:", err)
			}
		}
	}
}

// Every package may import plain data of the kernel.
const plainData = "internal/kernel"

func TestTheTableSaysWhatIs(t *testing.T) {
	table, found := theTable(t), map[string][]string{}
	for _, p := range packages(t) {
		found[p.name()] = slices.Concat(own(p.Imports), own(p.ofTests()))
	}
	for name, used := range found {
		for _, to := range table[name] {
			if _, exists := found[to]; exists && to != plainData && !slices.Contains(used, to) {
				t.Errorf("%s does not import %s, which the table allows: strike that out", name, to)
			}
		}
	}
}

// The table can be changed. These cannot, whatever it says: DESIGN.md's layout rests on them.
func TestTheTableItselfKeepsTheSidesApart(t *testing.T) {
	table := theTable(t)
	for _, apart := range []struct{ from, to []string }{
		{[]string{"internal/report", "internal/account", "internal/recording"}, []string{"loader", "bpf", "load", "netcfg"}},
		{[]string{"load", "netcfg"}, []string{"loader", "bpf", "internal/account", "internal/report", "internal/experiment"}},
		{[]string{"loader"}, []string{"load", "netcfg", "internal/account", "internal/report"}},
		{[]string{"internal/kernel", "bpf"}, []string{"internal/account", "loader"}},
	} {
		for _, from := range apart.from {
			for _, to := range apart.to {
				if table[from] == nil || table[to] == nil {
					t.Errorf("the table has no row for %s or %s", from, to)
				}
				if table.reaches(from, to) {
					t.Errorf("by the table, arrows lead from %s to %s", from, to)
				}
			}
		}
	}
}

// heavy are packages of others, or of the standard library, that few of the project's packages may know.
var heavy = map[string][]string{
	"github.com/cilium/ebpf":          {"bpf", "loader"},
	"github.com/vishvananda/netlink":  {"netcfg", "test"},
	"github.com/google/nftables":      {"netcfg"},
	"github.com/spf13/cobra":          {"cmd"},
	"github.com/google/pprof/profile": {"internal/report"},
	"github.com/expr-lang/expr":       {"internal/filter"},
	"crypto/tls":                      {"internal/remote"},
	"html/template":                   {"internal/report"},
	"net/http":                        {"tools/ownservers/nethttp", "internal/exporter", "test/cli"},

	"charm.land":                             {"internal/screen"},
	"github.com/prometheus/client_golang":    {"internal/exporter"},
	"github.com/prometheus/exporter-toolkit": {"internal/exporter"},
}

func TestOnlyTheirOwnersKnowTheHeavyPackages(t *testing.T) {
	for _, p := range packages(t) {
		for _, path := range p.Imports {
			for tree, owners := range heavy {
				isOwner := func(owner string) bool { return below(p.name(), owner) }
				if below(path, tree) && !slices.ContainsFunc(owners, isOwner) {
					t.Errorf("%s imports %s, which only %q may", p.name(), path, owners)
				}
			}
		}
	}
}

// below tells whether a path is that of a directory, or of one in it.
func below(path, directory string) bool {
	return path == directory || strings.HasPrefix(path, directory+"/")
}

const rows = begin + " -->\n| package | what it is | may import |\n| --- | --- | --- |\n"

func TestATableIsReadOrRefused(t *testing.T) {
	for _, c := range []struct{ name, text, refused string }{
		{"as it should be", rows + "| `a` | top | `b` |\n| `b` | below | |\n" + end, ""},
		{"no end", rows + "| `a` | top | |\n", "no line begins with"},
		{"a cell too many", rows + "| `a` | top | | |\n" + end, "cells in place of 3"},
		{"two rows for one", rows + "| `a` | top | |\n| `a` | again | |\n" + end, "has a row already"},
		{"an import without a row", rows + "| `a` | top | `b` |\n" + end, "b, which has no row"},
		{"a circle", rows + "| `a` | top | `b` |\n| `b` | below | `a` |\n" + end, "lead back to it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read(strings.NewReader(c.text))
			if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("the error is %v, in place of %q", err, c.refused)
			}
		})
	}
}

func TestWhatIsNotInTheTableIsFound(t *testing.T) {
	table := Table{"a": {"b"}, "b": {}, "c": {"b", "a"}, "test/...": {Any}}
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"a", "b", true}, {"b", "a", false}, {"new", "b", false}, {"a", "new", false}, {"a", "test/x", false},
		{"test/x/y", "a", true}, {"test/x", "test/y", true}, {"tests", "a", false},
	} {
		if err := table.Allows(c.from, c.to); (err == nil) != c.allowed {
			t.Errorf("%s imports %s: the error is %v", c.from, c.to, err)
		}
	}
	if direct := table.Direct("c"); !slices.Equal(direct, []string{"a"}) {
		t.Errorf("arrows of c that no others imply: %q", direct)
	}
}
