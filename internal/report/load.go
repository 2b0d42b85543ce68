package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// loadFacts say how the connections came up; there are none where connprof opened nothing.
func loadFacts(r *recording.Recording) []Fact {
	l := r.Load()
	if l == nil {
		return nil
	}
	facts := append(establishedFacts(r, l), failureFacts(r)...)
	if l.ConnectSeconds > 0 {
		facts = append(facts, Fact{Key: "ramp", Value: fmt.Sprintf("%s at %s connections/s · first connect %s after the start",
			format.Seconds(l.ConnectSeconds), format.Count(int64(l.ConnectsPerSecond)), format.Seconds(l.FirstConnectSeconds))})
	}
	facts = append(facts, Fact{Key: "addresses", Value: addresses(r, l)})
	for _, m := range r.Machines {
		facts = append(facts, clientPorts(m.ClientPorts)...)
	}
	if l.Scenario != "" {
		facts = append(facts, Fact{Key: "scenario", Value: format.Clean(l.Scenario) + held(l), Warn: l.LostInHold > 0})
	}
	if l.Tracked > 0 {
		facts = append(facts, Fact{Key: "conntrack", Value: format.Plural(l.Tracked, "entry", "entries") + ", each shared by the ends of a connection"})
	}
	facts = append(facts, queueFacts(r)...)
	return append(facts, loadMemory(r)...)
}

// queueFacts are what the walk has found in the queues of each machine's ends.
func queueFacts(r *recording.Recording) []Fact {
	var facts []Fact
	key := "data"
	for _, m := range all(r) {
		if l := m.Load; l != nil && l.UnreadBytes+l.UnackedBytes > 0 {
			facts = append(facts, Fact{Key: key, Value: m.prefixed(fmt.Sprintf("%s bytes unread, %s not acknowledged",
				format.Count(l.UnreadBytes), format.Count(l.UnackedBytes)))})
			key = ""
		}
	}
	return facts
}

func establishedFacts(r *recording.Recording, l *recording.Load) []Fact {
	facts := []Fact{{"established", fmt.Sprintf("%s of %s requested, %s failed", format.Count(l.Established),
		format.Count(l.Requested), format.Count(l.Failed)), l.Failed > 0 || l.Established < l.Requested}}
	for _, m := range all(r) {
		if other := m.Load; other != nil && (other.Established != l.Established || other.Failed != l.Failed) {
			facts = append(facts, Fact{"", fmt.Sprintf("%s by the %s's count, %s failed", format.Count(other.Established), m.end,
				format.Count(other.Failed)), true})
		}
	}
	if l.Capped != "" {
		facts = append(facts, Fact{Key: "", Value: "fewer than wanted, bound by " + format.Clean(l.Capped)})
	}
	return facts
}

func failureFacts(r *recording.Recording) []Fact {
	var facts []Fact
	for _, m := range all(r) {
		if m.Load == nil {
			continue
		}
		for _, f := range m.Load.Failures {
			facts = append(facts, Fact{"", m.prefixed(fmt.Sprintf("%s × %s: %s", format.Count(f.Count), format.Clean(f.Step),
				format.Clean(f.Error))), true})
		}
	}
	return facts
}

// loadMemory is what the processes that hold the connections take beside the kernel.
func loadMemory(r *recording.Recording) []Fact {
	total := 0.0
	var ends []string
	for _, m := range r.Machines {
		if m.Load != nil {
			total += float64(m.Load.ProcessRSSBytes)
			ends = append(ends, format.Size(float64(m.Load.ProcessRSSBytes))+" "+m.End().String())
		}
	}
	whose := strings.Join(ends, " + ")
	switch {
	case total == 0:
		return nil
	case r.Load().Server != nil:
		whose = "the client's"
	case len(ends) == 1 && r.Load().End == kernel.RoleBoth:
		whose = "both ends"
	case len(ends) == 1:
		whose = "the " + r.Load().End.String() + "'s"
	}
	return []Fact{{Key: "load's memory", Value: format.Size(total) + " resident in user space, " + whose}}
}

// clientPorts shows how a port serves several connections at once, by one that does.
func clientPorts(p *recording.ClientPorts) []Fact {
	if p == nil || len(p.Connections) == 0 {
		return nil
	}
	facts := []Fact{{Key: "client ports", Value: fmt.Sprintf("%s in use, each by up to %s at the same time",
		format.Count(p.Used), format.Plural(p.Most, "connection", "connections"))}}
	if len(p.Connections) == 1 {
		return facts
	}
	first, last := p.Connections[0], p.Connections[len(p.Connections)-1]
	return append(facts, Fact{Value: fmt.Sprintf("port %d, for one: %s → %s", p.Example, fromTo(first.Local, last.Local),
		fromTo(first.Remote, last.Remote))})
}

func fromTo(first, last string) string {
	if first == last {
		return format.Clean(first)
	}
	return format.Clean(first) + " … " + format.Clean(last)
}

func held(l *recording.Load) string {
	if l.HoldSeconds <= 0 {
		return ""
	}
	s := ", held for " + format.Seconds(l.HoldSeconds)
	if l.LostInHold > 0 {
		return s + fmt.Sprintf(", %s lost meanwhile", format.Plural(l.LostInHold, "connection", "connections"))
	}
	return s + ", none lost"
}

// addresses tells how the connections spread, from what the kernel holds rather than from what was asked for.
func addresses(r *recording.Recording, l *recording.Load) string {
	type place struct {
		netns   uint32
		address string
	}
	perAddress := map[place]int{}
	for _, m := range r.Machines {
		for _, row := range m.Addresses {
			if row.Role == kernel.RoleClient {
				perAddress[place{row.Netns, row.Address}] += row.Count
			}
		}
	}
	ports := format.Plural(l.ServerPorts, "server port", "server ports")
	if len(perAddress) == 0 {
		return format.Plural(l.ClientAddresses, "client address", "client addresses") + " × " + ports
	}
	least, most := math.MaxInt, 0
	for _, n := range perAddress {
		least, most = min(least, n), max(most, n)
	}
	spread := format.Plural(most, "connection", "connections") + " each"
	if least != most {
		spread = format.Count(least) + " to " + format.Count(most) + " connections each"
	}
	return format.Plural(len(perAddress), "client address", "client addresses") + ", " + spread + " × " + ports
}
