package report

import (
	"fmt"
	"math"
	"time"

	"github.com/connprof/connprof/account"
)

// fact is one line of a report that is no table: what, how much, and whether it deserves a second look.
type fact struct {
	Key   string
	Value string
	Warn  bool
}

func runFacts(r *account.Recording) []fact {
	host := fmt.Sprintf("Linux %s %s · %s · %s of memory", clean(r.Host.Kernel), clean(r.Host.Machine),
		plural(r.Host.CPUs, "CPU", "CPUs"), size(float64(r.Host.MemoryBytes)))
	made := createdAt(r)
	if r.Version != "" {
		made += " · connprof " + clean(r.Version)
	}
	var facts []fact
	if len(r.Command) > 0 {
		facts = append(facts, fact{Key: "command", Value: commandLine(r.Command)})
	}
	facts = append(facts, fact{Key: "host", Value: host}, fact{Key: "recorded", Value: made})
	if r.Interrupted != "" {
		facts = append(facts, fact{"interrupted", clean(r.Interrupted), true})
	}
	return facts
}

// createdAt is written in UTC, or the same recording would read differently on two machines.
func createdAt(r *account.Recording) string {
	if r.Created.IsZero() {
		return "at an unknown time"
	}
	return r.Created.UTC().Format(time.DateTime) + " UTC"
}

func loadFacts(r *account.Recording) []fact {
	l := &r.Load
	facts := []fact{{"established", fmt.Sprintf("%s of %s requested, %s failed", count(l.Established),
		count(l.Requested), count(l.Failed)), l.Failed > 0 || l.Established < l.Requested}}
	if l.Capped != "" {
		facts = append(facts, fact{Key: "", Value: "fewer than wanted, bound by " + clean(l.Capped)})
	}
	for _, f := range l.Failures {
		facts = append(facts, fact{"", fmt.Sprintf("%s × %s: %s", count(f.Count), clean(f.Step), clean(f.Error)), true})
	}
	if l.ConnectSeconds > 0 {
		facts = append(facts, fact{Key: "ramp", Value: fmt.Sprintf("%s at %s connections/s · first connect %s after the start",
			seconds(l.ConnectSeconds), count(int64(l.ConnectsPerSecond)), seconds(l.FirstConnectSeconds))})
	}
	facts = append(facts, fact{Key: "addresses", Value: addresses(r)})
	facts = append(facts, clientPorts(r)...)
	if l.Scenario != "" {
		facts = append(facts, fact{Key: "scenario", Value: clean(l.Scenario) + held(l), Warn: l.LostInHold > 0})
	}
	if l.ProcessRSSBytes > 0 {
		facts = append(facts, fact{Key: "load's memory", Value: size(float64(l.ProcessRSSBytes)) +
			" resident in user space, both ends"})
	}
	return facts
}

// clientPorts shows how a port serves several connections at once, by one that does.
func clientPorts(r *account.Recording) []fact {
	p := r.ClientPorts
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

func held(l *account.Load) string {
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
func addresses(r *account.Recording) string {
	perAddress := map[string]int{}
	for _, row := range r.Addresses {
		if row.Role == "client" {
			perAddress[row.Address] += row.Count
		}
	}
	ports := plural(r.Load.ServerPorts, "server port", "server ports")
	if len(perAddress) == 0 {
		return plural(r.Load.ClientAddresses, "client address", "client addresses") + " × " + ports
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

// hookLine says which rung of the attach ladder a hook point got, and why no better one.
type hookLine struct {
	Name, Kind, Function, Hits, Note string
	Attached                         bool
}

func hookLines(r *account.Recording) []hookLine {
	lines := make([]hookLine, len(r.Hooks))
	for i, h := range r.Hooks {
		hits := "not attached"
		if h.Attached {
			hits = plural(h.Hits, "hit", "hits")
		}
		lines[i] = hookLine{clean(h.Name), clean(h.Kind), clean(h.Function), hits, clean(h.Note), h.Attached}
	}
	return lines
}

func costFacts(r *account.Recording) []fact {
	c := &r.Cost
	facts := []fact{
		{Key: "process", Value: size(float64(c.ProfilerRSSBytes)) + " resident"},
		{Key: "BPF maps", Value: size(float64(c.BPFMapBytes))},
	}
	endpoints := 0
	for _, n := range roleEndpoints(r) {
		endpoints += n
	}
	if endpoints > 0 {
		total := float64(c.ProfilerRSSBytes) + float64(c.BPFMapBytes)
		facts = append(facts, fact{Key: "per endpoint", Value: size(ratio(total, float64(endpoints))) + " of both, over " +
			plural(endpoints, "endpoint", "endpoints")})
	}
	return append(facts,
		fact{Key: "events", Value: count(c.Events)},
		fact{Key: "walk", Value: seconds(c.WalkSeconds)})
}

// forTheBatch says whose allocations were traced, where that is not all.
func forTheBatch(r *account.Recording) string {
	b := r.Trace.BatchConnections
	if b == 0 || b >= r.Load.Established {
		return ""
	}
	return fmt.Sprintf(" for the first %s", plural(b, "connection", "connections"))
}

// samplingSentence says how far the shape of the call paths can be trusted; their sums are the walk's and exact.
func samplingSentence(r *account.Recording) (sentence string, warn bool) {
	if len(r.Stacks) == 0 {
		return "No call paths were recorded.", false
	}
	if r.Sampling.Samples == 0 {
		return "No stack was sampled: the call paths only name the object types.", true
	}
	sentence = fmt.Sprintf("%s, one in about %s%s; their bytes are scaled so that each role and type adds up to what the walk found.",
		plural(r.Sampling.Samples, "stack sampled", "stacks sampled"),
		plural(r.Sampling.Interval, "allocation", "allocations"), forTheBatch(r))
	if q := r.Sampling; q.SymbolisedRatio > 0 {
		sentence += fmt.Sprintf(" %s of the bytes lie under paths with every frame named; how they divide among paths has a "+
			"standard error of %s.", percent(q.SymbolisedRatio, 1), percent(q.ErrorRatio, 1))
	}
	unsampled := 0
	for _, s := range r.Stacks {
		if s.Samples == 0 {
			unsampled++
		}
	}
	if unsampled > 0 {
		sentence += fmt.Sprintf(" For %s no stack was sampled, so no path is known.", plural(unsampled, "object type of a role",
			"object types of a role"))
	}
	return sentence, false
}
