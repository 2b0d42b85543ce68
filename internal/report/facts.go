package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// fact is one line of a report that is no table: what, how much, and whether it deserves a second look.
type fact struct {
	Key   string
	Value string
	Warn  bool
}

func runFacts(r *recording.Recording) []fact {
	facts := commandFacts(r)
	facts = append(facts, hostFacts(r)...)
	facts = append(facts, fact{Key: "recorded", Value: recordedAt(r)})
	if only, warn := missingSentence(r); only != "" {
		facts = append(facts, fact{"ends", only, warn})
	}
	for _, why := range interruptions(r) {
		facts = append(facts, fact{"interrupted", why, true})
	}
	return facts
}

// commandFacts are what was typed on each machine.
func commandFacts(r *recording.Recording) []fact {
	var facts []fact
	key := "command"
	add := func(command []string) {
		if len(command) > 0 {
			facts, key = append(facts, fact{Key: key, Value: commandLine(command)}), ""
		}
	}
	add(r.Command)
	for _, m := range r.Machines {
		add(m.Command)
	}
	return facts
}

func recordedAt(r *recording.Recording) string {
	made := createdAt(r)
	if r.Version != "" {
		made += " · connprof " + clean(r.Version)
	}
	for _, m := range all(r) {
		if m.Version != "" {
			made += ", the " + m.end + "'s " + clean(m.Version)
		}
	}
	return made
}

// hostFacts describe the machines that took part.
func hostFacts(r *recording.Recording) []fact {
	var facts []fact
	for _, m := range all(r) {
		key := m.end
		if m.label == "" {
			key = "host"
		}
		facts = append(facts, fact{Key: key, Value: hostLine(m.Machine)})
	}
	if r.OneKernel() {
		facts = append(facts, oneKernelFact(r))
	}
	return facts
}

func oneKernelFact(r *recording.Recording) fact {
	for _, m := range r.Reconciled() {
		if ofBothEnds(r, m) {
			return fact{Value: "both ends share one kernel: its slab growth is held against the account of both"}
		}
	}
	return fact{Value: "both ends share one kernel, whose slab growth is that of both", Warn: true}
}

func hostLine(m *recording.Machine) string {
	h := &m.Host
	line := fmt.Sprintf("Linux %s %s · %s · %s of memory", clean(h.Kernel), clean(h.Machine), plural(h.CPUs, "CPU", "CPUs"),
		size(float64(h.MemoryBytes)))
	if name := hostName(m); name != "" {
		return name + " · " + line
	}
	return line
}

// createdAt is written in UTC, or the same recording would read differently on two machines.
func createdAt(r *recording.Recording) string {
	if r.Created.IsZero() {
		return "at an unknown time"
	}
	return r.Created.UTC().Format(time.DateTime) + " UTC"
}

// loadFacts say how the connections came up; there are none where connprof opened nothing.
func loadFacts(r *recording.Recording) []fact {
	l := r.Load()
	if l == nil {
		return nil
	}
	facts := append(establishedFacts(r, l), failureFacts(r)...)
	if l.ConnectSeconds > 0 {
		facts = append(facts, fact{Key: "ramp", Value: fmt.Sprintf("%s at %s connections/s · first connect %s after the start",
			seconds(l.ConnectSeconds), count(int64(l.ConnectsPerSecond)), seconds(l.FirstConnectSeconds))})
	}
	facts = append(facts, fact{Key: "addresses", Value: addresses(r, l)})
	for _, m := range r.Machines {
		facts = append(facts, clientPorts(m.ClientPorts)...)
	}
	if l.Scenario != "" {
		facts = append(facts, fact{Key: "scenario", Value: clean(l.Scenario) + held(l), Warn: l.LostInHold > 0})
	}
	return append(facts, loadMemory(r)...)
}

func establishedFacts(r *recording.Recording, l *recording.Load) []fact {
	facts := []fact{{"established", fmt.Sprintf("%s of %s requested, %s failed", count(l.Established),
		count(l.Requested), count(l.Failed)), l.Failed > 0 || l.Established < l.Requested}}
	for _, m := range all(r) {
		if other := m.Load; other != nil && (other.Established != l.Established || other.Failed != l.Failed) {
			facts = append(facts, fact{"", fmt.Sprintf("%s by the %s's count, %s failed", count(other.Established), m.end,
				count(other.Failed)), true})
		}
	}
	if l.Capped != "" {
		facts = append(facts, fact{Key: "", Value: "fewer than wanted, bound by " + clean(l.Capped)})
	}
	return facts
}

func failureFacts(r *recording.Recording) []fact {
	var facts []fact
	for _, m := range all(r) {
		if m.Load == nil {
			continue
		}
		for _, f := range m.Load.Failures {
			facts = append(facts, fact{"", m.prefixed(fmt.Sprintf("%s × %s: %s", count(f.Count), clean(f.Step),
				clean(f.Error))), true})
		}
	}
	return facts
}

// loadMemory is what the processes that hold the connections take beside the kernel.
func loadMemory(r *recording.Recording) []fact {
	total := 0.0
	var ends []string
	for _, m := range r.Machines {
		if m.Load != nil {
			total += float64(m.Load.ProcessRSSBytes)
			ends = append(ends, size(float64(m.Load.ProcessRSSBytes))+" "+m.End().String())
		}
	}
	whose := strings.Join(ends, " + ")
	switch {
	case total == 0:
		return nil
	case len(ends) == 1 && r.Load().End == kernel.RoleBoth:
		whose = "both ends"
	case len(ends) == 1:
		whose = "the " + r.Load().End.String() + "'s"
	}
	return []fact{{Key: "load's memory", Value: size(total) + " resident in user space, " + whose}}
}

// clientPorts shows how a port serves several connections at once, by one that does.
func clientPorts(p *recording.ClientPorts) []fact {
	if p == nil || len(p.Connections) == 0 {
		return nil
	}
	facts := []fact{{Key: "client ports", Value: fmt.Sprintf("%s in use, each by up to %s at the same time",
		count(p.Used), plural(p.Most, "connection", "connections"))}}
	if len(p.Connections) == 1 {
		return facts
	}
	first, last := p.Connections[0], p.Connections[len(p.Connections)-1]
	return append(facts, fact{Value: fmt.Sprintf("port %d, for one: %s → %s", p.Example, fromTo(first.Local, last.Local),
		fromTo(first.Remote, last.Remote))})
}

func fromTo(first, last string) string {
	if first == last {
		return clean(first)
	}
	return clean(first) + " … " + clean(last)
}

func held(l *recording.Load) string {
	if l.HoldSeconds <= 0 {
		return ""
	}
	s := ", held for " + seconds(l.HoldSeconds)
	if l.LostInHold > 0 {
		return s + fmt.Sprintf(", %s lost meanwhile", plural(l.LostInHold, "connection", "connections"))
	}
	return s + ", none lost"
}

// addresses tells how the connections spread, from what the kernel holds rather than from what was asked for.
func addresses(r *recording.Recording, l *recording.Load) string {
	perAddress := map[string]int{}
	for _, m := range r.Machines {
		for _, row := range m.Addresses {
			if row.Role == kernel.RoleClient {
				perAddress[row.Address] += row.Count
			}
		}
	}
	ports := plural(l.ServerPorts, "server port", "server ports")
	if len(perAddress) == 0 {
		return plural(l.ClientAddresses, "client address", "client addresses") + " × " + ports
	}
	least, most := math.MaxInt, 0
	for _, n := range perAddress {
		least, most = min(least, n), max(most, n)
	}
	spread := plural(most, "connection", "connections") + " each"
	if least != most {
		spread = count(least) + " to " + count(most) + " connections each"
	}
	return plural(len(perAddress), "client address", "client addresses") + ", " + spread + " × " + ports
}

func costFacts(m machine) []fact {
	c, each := &m.Cost, none
	if n := m.Count(); n > 0 {
		total := float64(c.ProfilerRSSBytes) + float64(c.BPFMapBytes)
		each = size(ratio(total, float64(n))) + ", over " + plural(n, "endpoint", "endpoints")
	}
	return []fact{
		{Key: "process", Value: size(float64(c.ProfilerRSSBytes)) + " resident"},
		{Key: "BPF maps", Value: size(float64(c.BPFMapBytes))},
		{Key: "per endpoint", Value: each},
		{Key: "events", Value: count(c.Events)},
		{Key: "walk", Value: seconds(c.WalkSeconds)},
	}
}

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
	return fmt.Sprintf(" for the first %s", plural(m.batch(), "connection", "connections"))
}

// samplingSentences say how far the shape of the call paths can be trusted; their sums are the walk's and exact.
func samplingSentences(r *recording.Recording) (said []string, warn bool) {
	if len(r.Stacks()) == 0 {
		return []string{"No call paths were recorded."}, false
	}
	machines, scaled := profiled(r), false
	for _, m := range machines {
		sentence, sampled := m.sampled()
		said = append(said, m.prefixed(sentence))
		scaled, warn = scaled || sampled, warn || !sampled && len(m.Stacks) > 0
	}
	if scaled {
		said = append(said, "The bytes are scaled so that each role and type adds up to what the walk found.")
	}
	if len(machines) == 1 {
		said = []string{strings.Join(said, " ")}
	}
	return said, warn
}

// sampled is one machine's part of it.
func (m machine) sampled() (sentence string, sampled bool) {
	q := m.Sampling
	switch {
	case len(m.Stacks) == 0:
		return "No call paths were recorded.", false
	case q == nil || q.Samples == 0:
		return "No stack was sampled: the call paths only name the object types.", false
	}
	sentence = fmt.Sprintf("%s, one in about %s%s.", plural(q.Samples, "stack sampled", "stacks sampled"),
		plural(q.Interval, "allocation", "allocations"), m.forTheBatch())
	if q.SymbolisedRatio > 0 {
		sentence += fmt.Sprintf(" %s of the bytes lie under paths with every frame named; how they divide among paths has a "+
			"standard error of %s.", percent(q.SymbolisedRatio, 1), percent(q.ErrorRatio, 1))
	}
	unsampled := 0
	for _, s := range m.Stacks {
		if s.Samples == 0 {
			unsampled++
		}
	}
	if unsampled > 0 {
		sentence += fmt.Sprintf(" For %s no stack was sampled, so no path is known.", plural(unsampled, "object type of a role",
			"object types of a role"))
	}
	return sentence, true
}
