package report

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Trace is the trace held against the walk.
type Trace struct {
	Agreements []Fact  // a sentence for each machine
	Coverage   string  // what all of it is of, empty where each sentence says it
	Checks     []Check // those that disagree first
}

func traceOf(r *recording.Recording) Trace {
	return Trace{agreementsOf(r), coverage(r), checksOf(traced(r))}
}

// Apart tells whether any figure of trace and walk differs.
func (t *Trace) Apart() bool { return len(t.Checks) > 0 && !t.Checks[0].Agree }

// batch is how many of the connections, the first, were traced allocation by allocation; 0 where all were.
func (m machine) batch() int {
	if m.Trace == nil || m.Trace.BatchConnections <= 0 || m.Trace.BatchConnections >= m.of {
		return 0
	}
	return m.Trace.BatchConnections
}

// forTheBatch says whose allocations were traced, where that is not all.
func (m machine) forTheBatch() string {
	if m.batch() == 0 {
		return ""
	}
	return fmt.Sprintf(" for the first %s", format.Plural(m.batch(), "connection", "connections"))
}

// Check is one figure that trace and walk both have.
type Check struct {
	Role, What  string
	Trace, Walk string
	Apart       string // how much more or less the trace has, empty when they agree
	Agree       bool
}

// checksOf holds the trace against the walk, each machine's own: endpoints first, then each object type. Disagreements
// come first.
func checksOf(machines []machine) []Check {
	var rows []recording.TypeRow
	for _, m := range machines {
		if m.Trace != nil {
			rows = append(rows, opensRows(m)...)
			rows = append(rows, m.Trace.Types...)
		}
	}
	lines := make([]Check, len(rows))
	for i, t := range rows {
		line := Check{Role: t.Role.String(), What: format.Clean(t.Type), Trace: format.Minus(format.Count(t.Trace)),
			Walk: format.Minus(format.Count(t.Walk))}
		if line.Agree = t.Trace == t.Walk; !line.Agree {
			line.Apart = format.Signed(int64(t.Trace)-int64(t.Walk)) + " by the trace"
			if t.Walk > 0 {
				line.Apart = fmt.Sprintf("%s by the trace (%s)", format.Signed(int64(t.Trace)-int64(t.Walk)),
					format.SignedPercent(float64(t.Trace)-float64(t.Walk), float64(t.Walk)))
			}
		}
		lines[i] = line
	}
	sort.SliceStable(lines, func(i, j int) bool { return !lines[i].Agree && lines[j].Agree })
	return lines
}

// opensRows compares the opens that the probes saw with the endpoints the walk found. Only a run whose endpoints are
// all still established can be compared so; in any other the states say more than the sum.
func opensRows(m machine) []recording.TypeRow {
	var rows []recording.TypeRow
	for _, opens := range []recording.TypeRow{{Role: kernel.RoleClient, Trace: m.Trace.ClientOpens},
		{Role: kernel.RoleServer, Trace: m.Trace.ServerOpens}} {
		only := true
		for _, row := range m.Endpoints {
			if row.Role == opens.Role && row.Count > 0 {
				only = only && row.State == established
				opens.Walk += row.Count
			}
		}
		if only && m.Trace.Closes == 0 && (opens.Walk > 0 || opens.Trace > 0) {
			opens.Type = "endpoints"
			rows = append(rows, opens)
		}
	}
	return rows
}

// traced are the machines whose allocations were traced.
func traced(r *recording.Recording) []machine {
	return slices.DeleteFunc(profiled(r), func(m machine) bool { return m.Trace == nil })
}

// agreementsOf sum up trace against walk, a sentence for each machine.
func agreementsOf(r *recording.Recording) []Fact {
	var list []Fact
	for _, m := range traced(r) {
		sentence, warn := agreed(checksOf([]machine{m}))
		if of := m.tracedOf(); of != "" && coverage(r) == "" {
			sentence += "; " + of
		}
		list = append(list, m.labelled(Fact{Value: sentence, Warn: warn}))
	}
	return list
}

// tracedOf says which connections the trace is of, where its figures are not all of the same.
func (m machine) tracedOf() string {
	if m.batch() == 0 {
		return ""
	}
	return fmt.Sprintf("opens are those of all connections, allocations those of the first %s, each of which was traced",
		format.Count(m.batch()))
}

// coverage is what the figures of several machines are of, where that is the same.
func coverage(r *recording.Recording) string {
	machines := traced(r)
	if len(machines) < 2 || machines[0].tracedOf() == "" {
		return ""
	}
	of := machines[0].tracedOf()
	if slices.ContainsFunc(machines, func(m machine) bool { return m.tracedOf() != of }) {
		return ""
	}
	return strings.ToUpper(of[:1]) + of[1:] + "."
}

func agreed(lines []Check) (sentence string, warn bool) {
	apart := 0
	for _, line := range lines {
		if !line.Agree {
			apart++
		}
	}
	switch {
	case len(lines) == 0:
		return "nothing to compare", false
	case apart == 0:
		return fmt.Sprintf("agree on all %s", format.Plural(len(lines), "figure", "figures")), false
	}
	return fmt.Sprintf("disagree on %s of %s", format.Count(apart), format.Plural(len(lines), "figure", "figures")), true
}
