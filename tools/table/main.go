// Command table prints what recordings say of one endpoint, side by side, as Markdown: a table for each role and state,
// a row for each object type, a column for each machine of them. docs/results/endpoint.md shows what it prints.
//
//	go run ./tools/table RECORDING...
//
// With --scenarios it writes one table into a page instead, between that page's markers: a row for each scenario, role and
// state, a column for each kernel. docs/results/scenarios.md is that page.
//
//	go run ./tools/table --scenarios PAGE RECORDING...
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func main() {
	page := flag.String("scenarios", "", "write the scenario table into this `PAGE`")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "usage: table [--scenarios PAGE] RECORDING...") }
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := compare(flag.Args(), *page); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

// compare reads the recordings and writes their tables: into the page, or to standard output without one.
func compare(paths []string, page string) error {
	var machines []*recording.Machine
	for _, path := range paths {
		r, err := recording.ReadFile(path)
		if err != nil {
			return err
		}
		machines = append(machines, r.Machines...)
	}
	if page != "" {
		return scenarioPage(page, machines)
	}
	write(os.Stdout, machines)
	return nil
}

// key names a table: the endpoints of one role in one state.
type key struct {
	role  kernel.Role
	state string
}

// write prints the tables in the order of the rows of the machines. The few listeners are no cost of a connection.
func write(w io.Writer, machines []*recording.Machine) {
	var keys []key
	for _, m := range machines {
		for _, row := range m.Endpoints {
			if k := (key{row.Role, row.State}); row.Role != kernel.RoleListener && !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
	}
	for i, k := range keys {
		if i > 0 {
			fmt.Fprintln(w)
		}
		writeTable(w, k, machines)
	}
}

// cost is what one endpoint has of a type, in bytes.
type cost struct{ object, page float64 }

// column is what one machine says. Without such endpoints it has no types.
type column struct {
	kernel string
	total  cost
	types  map[string]cost
}

func writeTable(w io.Writer, k key, machines []*recording.Machine) {
	var columns []column
	for _, m := range machines {
		columns = append(columns, columnOf(k, m))
	}
	line(w, k.role.String()+" "+k.state, columns, func(c column) string { return c.kernel })
	line(w, "---", columns, func(column) string { return "---:" })
	for _, kind := range typesOf(columns) {
		line(w, kind, columns, func(c column) string {
			if each, ok := c.types[kind]; ok {
				return each.String()
			}
			return "–"
		})
	}
	line(w, "**in all**", columns, func(c column) string {
		if len(c.types) == 0 {
			return "–"
		}
		return "**" + c.total.String() + "**"
	})
}

func line(w io.Writer, first string, columns []column, cell func(column) string) {
	cells := []string{first}
	for _, c := range columns {
		cells = append(cells, cell(c))
	}
	fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
}

func columnOf(k key, m *recording.Machine) column {
	c := column{kernel: series(m.Host.Kernel), types: map[string]cost{}}
	for _, row := range m.Endpoints {
		if row.Role != k.role || row.State != k.state || row.Count == 0 {
			continue
		}
		n := float64(row.Count)
		c.total = cost{float64(row.ObjectBytes) / n, float64(row.PageBytes) / n}
		for _, o := range row.Objects {
			sum := c.types[o.Type]
			c.types[o.Type] = cost{sum.object + float64(o.ObjectBytes)/n, sum.page + float64(o.PageBytes)/n}
		}
	}
	return c
}

// series is the first two numbers of a kernel's release: 6.12 of 6.12.117+deb12-cloud-amd64.
func series(release string) string {
	parts := strings.SplitN(release, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// typesOf lists the types of all columns, the costliest first.
func typesOf(columns []column) []string {
	most := map[string]float64{}
	for _, c := range columns {
		for kind, each := range c.types {
			most[kind] = max(most[kind], each.page)
		}
	}
	kinds := []string{}
	for kind := range most {
		kinds = append(kinds, kind)
	}
	slices.SortFunc(kinds, func(a, b string) int { return cmp.Or(cmp.Compare(most[b], most[a]), cmp.Compare(a, b)) })
	return kinds
}

// String gives object bytes and page bytes, with a decimal only where a whole number would hide the figure.
func (c cost) String() string { return number(c.object) + " / " + number(c.page) }

func number(bytes float64) string {
	if whole := math.Round(bytes); math.Abs(bytes-whole) < 0.05 || bytes >= 1000 {
		return fmt.Sprintf("%.0f", whole)
	}
	return fmt.Sprintf("%.1f", bytes)
}
