package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
)

// The part of a page between these two lines is what replaceBlock writes.
const (
	blockBegin = "<!-- begin: written by make scenario-table -->"
	blockEnd   = "<!-- end: written by make scenario-table -->"
)

// end is what a row of the scenario table is about: the endpoints of one role in one state, in one scenario.
type end struct {
	scenario string
	role     kernel.Role
	state    string
}

// published are the figures for a 3.10 kernel that docs/results/endpoint.md names the source of: kB of 1,024 bytes, here as
// bytes. There the client closed and its process was gone: connprof's scenario of the like is orphaned.
var published = map[end]string{
	{"idle", kernel.RoleClient, "ESTABLISHED"}:    "3,420",
	{"idle", kernel.RoleServer, "ESTABLISHED"}:    "3,123",
	{"orphaned", kernel.RoleClient, "FIN_WAIT2"}:  "406",
	{"orphaned", kernel.RoleServer, "CLOSE_WAIT"}: "3,379",
	{"time-wait", kernel.RoleClient, "TIME_WAIT"}: "346–420",
}

// kernelRuns are one kernel's recordings, by scenario.
type kernelRuns struct {
	host recording.Host
	runs map[string]*recording.Machine
}

// scenarioPage writes the tables of the recordings into a page, between its markers.
func scenarioPage(path string, machines []*recording.Machine) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var block strings.Builder
	if err := writeScenarios(&block, machines); err != nil {
		return err
	}
	text, err := replaceBlock(string(page), block.String())
	if err != nil {
		return fmt.Errorf("write the table into %s: %w", path, err)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// replaceBlock puts a block between the markers of a page.
func replaceBlock(page, block string) (string, error) {
	head, rest, begun := strings.Cut(page, blockBegin+"\n")
	_, tail, ended := strings.Cut(rest, blockEnd)
	if !begun || !ended {
		return "", fmt.Errorf("it has no lines %q and %q", blockBegin, blockEnd)
	}
	return head + blockBegin + "\n" + block + blockEnd + tail, nil
}

// writeScenarios prints where the recordings are from, the table of page bytes and that of object bytes.
func writeScenarios(w io.Writer, machines []*recording.Machine) error {
	kernels, err := byKernel(machines)
	if err != nil {
		return err
	}
	ends := endsOf(machines)
	writeHosts(w, kernels)
	fmt.Fprintf(w, "\nPage bytes an endpoint:\n\n")
	writeEnds(w, ends, kernels, func(row recording.EndpointRow) uint64 { return row.PageBytes }, true)
	fmt.Fprintf(w, "\nObject bytes an endpoint:\n\n")
	writeEnds(w, ends, kernels, func(row recording.EndpointRow) uint64 { return row.ObjectBytes }, false)
	fmt.Fprintf(w, "\nBuffer bytes an endpoint, where there are any:\n\n")
	writeEnds(w, withBuffers(ends, machines), kernels, func(row recording.EndpointRow) uint64 { return row.BufferBytes },
		false)
	return nil
}

// byKernel sorts the recordings into one column a kernel, the oldest first.
func byKernel(machines []*recording.Machine) ([]kernelRuns, error) {
	var kernels []kernelRuns
	for _, m := range machines {
		if m.Load == nil {
			return nil, fmt.Errorf("a recording on kernel %s is of no run: it has no scenario", m.Host.Kernel)
		}
		i := slices.IndexFunc(kernels, func(k kernelRuns) bool { return k.host.Kernel == m.Host.Kernel })
		if i < 0 {
			i = len(kernels)
			kernels = append(kernels, kernelRuns{m.Host, map[string]*recording.Machine{}})
		}
		if _, twice := kernels[i].runs[m.Load.Scenario]; twice {
			return nil, fmt.Errorf("two recordings of scenario %s on kernel %s", m.Load.Scenario, m.Host.Kernel)
		}
		kernels[i].runs[m.Load.Scenario] = m
	}
	if len(kernels) == 0 {
		return nil, errors.New("no recordings")
	}
	slices.SortFunc(kernels, func(a, b kernelRuns) int { return compareReleases(a.host.Kernel, b.host.Kernel) })
	return kernels, nil
}

// compareReleases orders 5.10 before 6.1 and 6.1 before 6.12.
func compareReleases(a, b string) int {
	return cmp.Or(slices.Compare(numbers(a), numbers(b)), strings.Compare(a, b))
}

func numbers(release string) []int {
	var all []int
	for _, part := range strings.Split(series(release), ".") {
		n, _ := strconv.Atoi(part)
		all = append(all, n)
	}
	return all
}

// endsOf lists what the recordings have rows for. The listener that every run has is a row only where it is the subject.
func endsOf(machines []*recording.Machine) []end {
	var ends []end
	for _, m := range machines {
		for _, row := range m.Endpoints {
			e := end{m.Load.Scenario, row.Role, row.State}
			if (e.role != kernel.RoleListener || e.scenario == "listen") && !slices.Contains(ends, e) {
				ends = append(ends, e)
			}
		}
	}
	slices.SortFunc(ends, func(a, b end) int {
		return cmp.Or(cmp.Compare(rank(a.scenario), rank(b.scenario)), cmp.Compare(a.role, b.role), cmp.Compare(a.state, b.state))
	})
	return ends
}

// rank is the order in which connprof runs the scenarios; the files of a folder come in another.
func rank(scenario string) int {
	return slices.IndexFunc(load.Scenarios, func(s load.Scenario) bool { return s.Name == scenario })
}

// withBuffers leaves out the ends that have no byte queued in any recording.
func withBuffers(ends []end, machines []*recording.Machine) []end {
	return slices.DeleteFunc(slices.Clone(ends), func(e end) bool {
		return !slices.ContainsFunc(machines, func(m *recording.Machine) bool {
			row, ok := rowOf(m, e)
			return ok && row.BufferBytes > 0
		})
	})
}

func rowOf(m *recording.Machine, e end) (recording.EndpointRow, bool) {
	if m == nil || m.Load.Scenario != e.scenario {
		return recording.EndpointRow{}, false
	}
	i := slices.IndexFunc(m.Endpoints, func(row recording.EndpointRow) bool { return row.Role == e.role && row.State == e.state })
	if i < 0 || m.Endpoints[i].Count == 0 {
		return recording.EndpointRow{}, false
	}
	return m.Endpoints[i], true
}

func writeHosts(w io.Writer, kernels []kernelRuns) {
	fmt.Fprintln(w, "| kernel | release | CPUs | memory | connections |")
	fmt.Fprintln(w, "| --- | --- | ---: | ---: | ---: |")
	for _, k := range kernels {
		fmt.Fprintf(w, "| %s | %s | %d | %d MiB | %s |\n", series(k.host.Kernel), k.host.Kernel, k.host.CPUs,
			k.host.MemoryBytes>>20, k.connections())
	}
}

// connections is how many each run had up, from the fewest to the most.
func (k kernelRuns) connections() string {
	var all []int
	for _, m := range k.runs {
		all = append(all, m.Load.Established)
	}
	if least, most := slices.Min(all), slices.Max(all); least != most {
		return grouped(least) + " to " + grouped(most)
	}
	return grouped(all[0])
}

// writeEnds prints a row an end and a column a kernel. With more, there are the published figures too, and each
// scenario ends with what its runs left unexplained.
func writeEnds(w io.Writer, ends []end, kernels []kernelRuns, bytes func(recording.EndpointRow) uint64, more bool) {
	head, rule := "| scenario | role | state |", "| --- | --- | --- |"
	if more {
		head, rule = head+" 3.10, published |", rule+" ---: |"
	}
	for _, k := range kernels {
		head, rule = head+" "+series(k.host.Kernel)+" |", rule+" ---: |"
	}
	fmt.Fprintf(w, "%s\n%s\n", head, rule)
	for i, e := range ends {
		name := e.scenario
		if i > 0 && ends[i-1].scenario == e.scenario {
			name = ""
		}
		cells := []string{name, e.role.String(), e.state}
		if more {
			cells = append(cells, published[e])
		}
		for _, k := range kernels {
			cells = append(cells, k.each(e, bytes))
		}
		writeRow(w, cells)
		if more && (i+1 == len(ends) || ends[i+1].scenario != e.scenario) {
			writeUnexplained(w, e.scenario, kernels)
		}
	}
}

func writeRow(w io.Writer, cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }

// each is the bytes of one endpoint, a dash where the kernel's run has none such.
func (k kernelRuns) each(e end, bytes func(recording.EndpointRow) uint64) string {
	row, ok := rowOf(k.runs[e.scenario], e)
	if !ok {
		return "–"
	}
	n := uint64(row.Count)
	return grouped(int((bytes(row) + n/2) / n))
}

// writeUnexplained is the row with each run's unexplained_ratio.
func writeUnexplained(w io.Writer, scenario string, kernels []kernelRuns) {
	cells := []string{"", "*unexplained*", "", ""}
	for _, k := range kernels {
		cell := "–"
		if m := k.runs[scenario]; m != nil && m.Reconcile != nil {
			cell = fmt.Sprintf("*%.2f %%*", 100*m.Reconcile.UnexplainedRatio)
		}
		cells = append(cells, cell)
	}
	writeRow(w, cells)
}

// grouped writes a number with a comma before each three digits.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
