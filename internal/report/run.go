package report

import (
	"fmt"
	"slices"
	"time"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// runFacts say what was run, where, when, and what is missing of it.
func runFacts(r *recording.Recording) []Fact {
	facts := commandFacts(r)
	facts = append(facts, hostFacts(r)...)
	facts = append(facts, Fact{Key: "recorded", Value: recordedAt(r)})
	if only, warn := missingSentence(r); only != "" {
		facts = append(facts, Fact{"ends", only, warn})
	}
	for _, why := range interruptions(r) {
		facts = append(facts, Fact{"interrupted", why, true})
	}
	return facts
}

// commandFacts are what was typed on each machine.
func commandFacts(r *recording.Recording) []Fact {
	var facts []Fact
	key := "command"
	add := func(command []string) {
		if len(command) > 0 {
			facts, key = append(facts, Fact{Key: key, Value: format.Command(command)}), ""
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
		made += " · connprof " + format.Clean(r.Version)
	}
	for _, m := range all(r) {
		if m.Version != "" {
			made += ", the " + m.end + "'s " + format.Clean(m.Version)
		}
	}
	return made
}

// hostFacts describe the machines that took part.
func hostFacts(r *recording.Recording) []Fact {
	var facts []Fact
	for _, m := range all(r) {
		key := m.end
		if m.label == "" {
			key = "host"
		}
		facts = append(facts, Fact{Key: key, Value: hostLine(m.Machine)})
	}
	if r.OneKernel() {
		facts = append(facts, oneKernelFact(r))
	}
	return facts
}

func oneKernelFact(r *recording.Recording) Fact {
	for _, m := range r.Reconciled() {
		if ofBothEnds(r, m) {
			return Fact{Value: "both ends share one kernel: its slab growth is held against the account of both"}
		}
	}
	return Fact{Value: "both ends share one kernel, whose slab growth is that of both", Warn: true}
}

func hostLine(m *recording.Machine) string {
	h := &m.Host
	line := fmt.Sprintf("Linux %s %s · %s · %s of memory", format.Clean(h.Kernel), format.Clean(h.Machine),
		format.Plural(h.CPUs, "CPU", "CPUs"), format.Size(float64(h.MemoryBytes)))
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

// alerts say that a recording is not whole.
func alerts(r *recording.Recording) []string {
	var list []string
	for _, why := range interruptions(r) {
		list = append(list, "Interrupted: "+why)
	}
	if only, warn := missingSentence(r); warn {
		list = append(list, "This is "+only+".")
	}
	return list
}

// notes are those of all machines. What each of several says is said once.
func notes(r *recording.Recording) []string {
	var list []string
	machines := all(r)
	for i, m := range machines {
		for _, note := range m.Notes {
			said := format.Clean(note)
			switch {
			case len(machines) == 1 || !everywhere(r, note):
				list = append(list, m.prefixed(said))
			case i == 0:
				list = append(list, "both machines: "+said)
			}
		}
	}
	return list
}

func everywhere(r *recording.Recording, note string) bool {
	return !slices.ContainsFunc(r.Machines, func(m *recording.Machine) bool { return !slices.Contains(m.Notes, note) })
}

// interruptions say why a recording ended early, and a machine's part of it.
func interruptions(r *recording.Recording) []string {
	var list []string
	if r.Interrupted != "" {
		list = append(list, format.Clean(r.Interrupted))
	}
	for _, m := range all(r) {
		if m.Interrupted != "" {
			list = append(list, m.prefixed(format.Clean(m.Interrupted)))
		}
	}
	return list
}
