package report

import (
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// machine is one of those that took part, with what a report calls it.
type machine struct {
	*recording.Machine
	end   string // client or server, empty where it is the only machine, or has both ends
	label string // server db-7; empty where it is the only machine
	of    int    // how many connections were opened, 0: none
}

// named gives some of a recording's machines the names they have in reports.
func named(r *recording.Recording, list []*recording.Machine) []machine {
	machines := make([]machine, len(list))
	for i, m := range list {
		machines[i] = machine{Machine: m}
		if m.Load != nil {
			machines[i].of = m.Load.Established
		}
		if len(r.Machines) > 1 {
			if end := m.End(); end != kernel.RoleBoth {
				machines[i].end = end.String()
			}
			machines[i].label = strings.TrimSpace(machines[i].end + " " + hostName(m))
		}
	}
	return machines
}

func all(r *recording.Recording) []machine { return named(r, r.Machines) }

// profiled are the machines that made an account: connprof serve --no-profile makes none.
func profiled(r *recording.Recording) []machine { return named(r, r.Profiled()) }

// reconciled are the machines whose account is held against a kernel's growth. One that has the account of both ends is
// called by neither.
func reconciled(r *recording.Recording) []machine {
	// A record's growth is that of the whole host: it is no account of the connections that it watched.
	list := named(r, slices.DeleteFunc(r.Reconciled(), func(m *recording.Machine) bool { return m.Record != nil }))
	for i := range list {
		if ofBothEnds(r, list[i].Machine) {
			list[i].end, list[i].label = "", ""
		}
	}
	return list
}

// ofBothEnds is whether the account of both ends is held against the growth of the one kernel that has both.
func ofBothEnds(r *recording.Recording, m *recording.Machine) bool {
	return m.Reconcile.BothEnds && r.Missing() == kernel.RoleUnknown
}

// accountOf names the machine, or the machines, whose account is held against a kernel's growth.
func accountOf(r *recording.Recording, m machine) string {
	if ofBothEnds(r, m.Machine) {
		return "of both ends, which share a kernel"
	}
	return m.label
}

// nameWidth keeps a host's name from breaking the page; the longest that Linux allows is 64.
const nameWidth = 32

func hostName(m *recording.Machine) string { return format.Shorten(format.Clean(m.Name), nameWidth) }

// prefixed puts a machine's label before a sentence.
func (m machine) prefixed(s string) string {
	if m.label == "" {
		return s
	}
	return m.label + ": " + s
}

// labelled gives a fact the machine's end for a key.
func (m machine) labelled(f Fact) Fact {
	if m.label == "" {
		return f
	}
	f.Key = m.end
	if name := hostName(m.Machine); name != "" {
		f.Value = name + ": " + f.Value
	}
	return f
}

// missingSentence says plainly what a recording of one end lacks, and whether it should not: the client's is to have both.
func missingSentence(r *recording.Recording) (sentence string, warn bool) {
	missing := r.Missing()
	if missing == kernel.RoleUnknown {
		return "", false
	}
	sentence = "the " + other(missing).String() + "'s end only: the " + missing.String()
	if slices.ContainsFunc(r.Machines, func(m *recording.Machine) bool { return m.End() == missing }) {
		return sentence + " made no account of its own", true
	}
	return sentence + "'s account is not in this recording", missing == kernel.RoleServer
}

// other is the other end of a connection.
func other(end kernel.Role) kernel.Role {
	if end == kernel.RoleClient {
		return kernel.RoleServer
	}
	return kernel.RoleClient
}

// hosts names the machine, or the machines and the kernels under them.
func hosts(r *recording.Recording) string {
	if len(r.Machines) == 1 {
		return hostLine(r.Machines[0])
	}
	var names []string
	for _, m := range r.Machines {
		names = append(names, hostName(m))
	}
	line := strings.Join(names, " to ") + " · Linux " + kernels(r)
	if r.OneKernel() {
		line += " · both ends share one kernel"
	}
	return strings.TrimSpace(line)
}

// kernels names each kernel once.
func kernels(r *recording.Recording) string {
	var names []string
	for _, m := range r.Machines {
		if name := format.Clean(m.Host.Kernel + " " + m.Host.Machine); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
