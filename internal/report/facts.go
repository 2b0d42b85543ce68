package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/account"
)

// fact is one line of a report that is no table: what, how much, and whether it deserves a second look.
type fact struct {
	Key   string
	Value string
	Warn  bool
}

func runFacts(r *recording.Recording) []fact {
	var facts []fact
	key := "command"
	for _, p := range partsOf(r) {
		if len(p.Command) > 0 {
			facts, key = append(facts, fact{Key: key, Value: commandLine(p.Command)}), ""
		}
	}
	facts = append(facts, hostFacts(r)...)
	made := createdAt(r)
	if r.Version != "" {
		made += " · connprof " + clean(r.Version)
	}
	if r.Peer != nil && r.Peer.Version != r.Version {
		made += ", the server's " + clean(r.Peer.Version)
	}
	facts = append(facts, fact{Key: "recorded", Value: made})
	if only, warn := onlyEndSentence(r); only != "" {
		facts = append(facts, fact{"ends", only, warn})
	}
	for _, why := range interruptions(r) {
		facts = append(facts, fact{"interrupted", why, true})
	}
	return facts
}

// hostFacts describe the machines that took part.
func hostFacts(r *recording.Recording) []fact {
	parts := partsOf(r)
	if len(parts) == 1 {
		return []fact{{Key: "host", Value: hostLine(&r.Host)}}
	}
	facts := make([]fact, len(parts))
	for i, p := range parts {
		facts[i] = fact{Key: p.role, Value: hostLine(&p.Host)}
	}
	switch {
	case shared(r):
		facts = append(facts, fact{Value: "both ends share one kernel: its slab growth is held against the account of both"})
	case r.Reconcile.BothEnds:
		facts = append(facts, fact{Value: "both ends share one kernel, whose slab growth is that of both", Warn: true})
	}
	return facts
}

func hostLine(h *recording.Host) string {
	line := fmt.Sprintf("Linux %s %s · %s · %s of memory", clean(h.Kernel), clean(h.Machine), plural(h.CPUs, "CPU", "CPUs"),
		size(float64(h.MemoryBytes)))
	if name := hostName(h); name != "" {
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

func loadFacts(r *recording.Recording) []fact {
	l := &r.Load
	facts := []fact{{"established", fmt.Sprintf("%s of %s requested, %s failed", count(l.Established),
		count(l.Requested), count(l.Failed)), l.Failed > 0 || l.Established < l.Requested}}
	if p := r.Peer; p != nil && (p.Load.Established != l.Established || p.Load.Failed != l.Failed) {
		facts = append(facts, fact{"", fmt.Sprintf("%s by the server's count, %s failed", count(p.Load.Established),
			count(p.Load.Failed)), true})
	}
	if l.Capped != "" {
		facts = append(facts, fact{Key: "", Value: "fewer than wanted, bound by " + clean(l.Capped)})
	}
	for _, p := range partsOf(r) {
		for _, f := range p.Load.Failures {
			facts = append(facts, fact{"", p.prefixed(fmt.Sprintf("%s × %s: %s", count(f.Count), clean(f.Step),
				clean(f.Error))), true})
		}
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
	return append(facts, loadMemory(r)...)
}

// loadMemory is what the processes that hold the connections take beside the kernel.
func loadMemory(r *recording.Recording) []fact {
	resident := func(l *recording.Load) string { return size(float64(l.ProcessRSSBytes)) }
	const what = " resident in user space, "
	switch {
	case r.Peer != nil && r.Load.ProcessRSSBytes+r.Peer.Load.ProcessRSSBytes > 0:
		return []fact{{Key: "load's memory", Value: size(float64(r.Load.ProcessRSSBytes)+float64(r.Peer.Load.ProcessRSSBytes)) +
			what + resident(&r.Load) + " client + " + resident(&r.Peer.Load) + " server"}}
	case r.Load.ProcessRSSBytes == 0:
		return nil
	case onlyEnd(r) != "":
		return []fact{{Key: "load's memory", Value: resident(&r.Load) + what + "the " + onlyEnd(r) + "'s"}}
	}
	return []fact{{Key: "load's memory", Value: resident(&r.Load) + what + "both ends"}}
}

// clientPorts shows how a port serves several connections at once, by one that does.
func clientPorts(r *recording.Recording) []fact {
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
func addresses(r *recording.Recording) string {
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

func costFacts(r *recording.Recording) []fact {
	c := &r.Cost
	facts := []fact{
		{Key: "process", Value: size(float64(c.ProfilerRSSBytes)) + " resident"},
		{Key: "BPF maps", Value: size(float64(c.BPFMapBytes))},
	}
	endpoints, each := 0, none
	for _, n := range roleEndpoints(r) {
		endpoints += n
	}
	if endpoints > 0 {
		total := float64(c.ProfilerRSSBytes) + float64(c.BPFMapBytes)
		each = size(ratio(total, float64(endpoints))) + ", over " + plural(endpoints, "endpoint", "endpoints")
	}
	return append(facts, fact{Key: "per endpoint", Value: each},
		fact{Key: "events", Value: count(c.Events)},
		fact{Key: "walk", Value: seconds(c.WalkSeconds)})
}

// forTheBatch says whose allocations were traced, where that is not all.
func forTheBatch(r *recording.Recording) string {
	b := r.Trace.BatchConnections
	if b == 0 || b >= r.Load.Established {
		return ""
	}
	return fmt.Sprintf(" for the first %s", plural(b, "connection", "connections"))
}

// samplingSentences say how far the shape of the call paths can be trusted; their sums are the walk's and exact.
func samplingSentences(r *recording.Recording) (said []string, warn bool) {
	if len(r.Stacks) == 0 {
		return []string{"No call paths were recorded."}, false
	}
	parts, scaled := measured(r), false
	for _, p := range parts {
		sentence, sampled := sampledSentence(p.Recording)
		said = append(said, p.prefixed(sentence))
		scaled, warn = scaled || sampled, warn || !sampled && len(p.Stacks) > 0
	}
	if scaled {
		said = append(said, "The bytes are scaled so that each role and type adds up to what the walk found.")
	}
	if len(parts) == 1 {
		said = []string{strings.Join(said, " ")}
	}
	return said, warn
}

// sampledSentence is one machine's part of it.
func sampledSentence(r *recording.Recording) (sentence string, sampled bool) {
	switch {
	case len(r.Stacks) == 0:
		return "No call paths were recorded.", false
	case r.Sampling.Samples == 0:
		return "No stack was sampled: the call paths only name the object types.", false
	}
	sentence = fmt.Sprintf("%s, one in about %s%s.", plural(r.Sampling.Samples, "stack sampled", "stacks sampled"),
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
	return sentence, true
}
