package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// ownerKey is one thing that the groups of a look can be divided by.
type ownerKey struct {
	name string
	// owned says that only a process has it: of what no process has, the row says why.
	owned bool
	// of is what tells rows apart, and what they are called.
	of func(*recording.Group) (id, name string)
}

// ownerKeys are all there are, in the order in which an error lists them.
var ownerKeys = []ownerKey{
	{"process", true, func(g *recording.Group) (string, string) {
		return joined(g.Comm, fmt.Sprint(g.UID), place(g)), orNone(g.Comm, "a process without name")
	}},
	{"pid", true, func(g *recording.Group) (string, string) {
		return joined(fmt.Sprint(g.PID), fmt.Sprint(g.PIDs)), fmt.Sprintf("%s %s", pidsOf(g), g.Comm)
	}},
	{"comm", true, func(g *recording.Group) (string, string) { return g.Comm, orNone(g.Comm, "a process without name") }},
	{"uid", true, func(g *recording.Group) (string, string) { return fmt.Sprint(g.UID), fmt.Sprintf("uid %d", g.UID) }},
	{"cgroup", true, func(g *recording.Group) (string, string) { return g.Cgroup, orNone(g.Cgroup, "no cgroup") }},
	{"container", true, func(g *recording.Group) (string, string) {
		return g.Container, orNone(shortID(g.Container), "no container")
	}},
	{"netns", false, func(g *recording.Group) (string, string) {
		return fmt.Sprint(g.Netns), fmt.Sprintf("netns %d", g.Netns)
	}},
	{"listener", false, func(g *recording.Group) (string, string) { return g.Listener, orNone(g.Listener, "no listener") }},
	{"service", false, func(g *recording.Group) (string, string) { return g.Service, orNone(g.Service, "no service") }},
	{"peer", false, func(g *recording.Group) (string, string) { return g.Peer, orNone(g.Peer, "no peer") }},
	{"state", false, func(g *recording.Group) (string, string) { return g.State, orNone(g.State, "no state") }},
	{"role", false, func(g *recording.Group) (string, string) { return g.Role.String(), g.Role.String() }},
	{byOpener, false, func(g *recording.Group) (string, string) {
		return fmt.Sprint(g.Opener), fmt.Sprintf("opener %d", g.Opener)
	}},
}

// bound gives the key that names openers those of a machine.
func bound(keys []ownerKey, m *recording.Machine) []ownerKey {
	keys = slices.Clone(keys)
	for i := range keys {
		if keys[i].name == byOpener {
			keys[i].of = func(g *recording.Group) (string, string) { return openerName(m, g.Opener) }
		}
	}
	return keys
}

// OwnerKeys are the names of the keys that GroupBy takes.
func OwnerKeys() []string {
	names := make([]string, len(ownerKeys))
	for i, k := range ownerKeys {
		names[i] = k.name
	}
	return names
}

// maxKeys is how many keys one table can be divided by: more make its rows unreadable.
const maxKeys = 2

// keysOf finds keys by name.
func keysOf(names []string) ([]ownerKey, error) {
	if len(names) == 0 {
		names = []string{"process"}
	}
	if len(names) > maxKeys {
		return nil, fmt.Errorf("group by %s: at most %d keys at a time", format.Clean(strings.Join(names, ",")), maxKeys)
	}
	keys := make([]ownerKey, 0, len(names))
	for i, name := range names {
		at := slices.IndexFunc(ownerKeys, func(k ownerKey) bool { return k.name == name })
		if at < 0 {
			return nil, fmt.Errorf("group by %q: there is no such key; take one of %s", format.Clean(name), strings.Join(OwnerKeys(), ", "))
		}
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("group by %q twice: name each key once", name)
		}
		keys = append(keys, ownerKeys[at])
	}
	return keys, nil
}

// orNone is a name, and what to say where there is none.
func orNone(name, none string) string {
	if name == "" {
		return none
	}
	return name
}

// joined makes one string of several that no other several make.
func joined(parts ...string) string { return fmt.Sprintf("%q", parts) }

// pidsOf lists the processes that have a group open.
func pidsOf(g *recording.Group) string {
	if len(g.PIDs) > 1 {
		return fmt.Sprintf("%d and %d more", g.PID, len(g.PIDs)-1)
	}
	return fmt.Sprint(g.PID)
}

// containerWidth is as much of a container's ID as its tools show.
const containerWidth = 12

func shortID(id string) string {
	if len(id) > containerWidth && !strings.ContainsFunc(id, func(r rune) bool { return r > '~' }) {
		return id[:containerWidth]
	}
	return id
}

// place is what a process runs in: its container, else its unit, else its cgroup.
func place(g *recording.Group) string {
	switch {
	case g.Container != "":
		return "container " + shortID(g.Container)
	case g.Unit != "":
		return g.Unit
	case g.Cgroup == "/":
		return ""
	}
	return g.Cgroup
}

// whyNobody says why no process has the endpoints of a group, and where they are.
func whyNobody(g *recording.Group, listeners []recording.Listener) (why, where string) {
	switch g.Owner {
	case recording.OwnerAcceptQueue:
		return "accept queue", "of " + listenerName(g, listeners)
	case recording.OwnerRequest:
		return "SYN_RECV", "of " + listenerName(g, listeners)
	case recording.OwnerOrphan:
		return "orphans", "closed by their process, not yet by the protocol"
	case recording.OwnerTimeWait:
		return "TIME_WAIT", "the kernel keeps them for 60 s"
	case recording.OwnerInFlight:
		return "in flight", "in a message between processes, or held by io_uring"
	case recording.OwnerUnseen:
		return "not seen", "outside connprof's PID namespace, or in flight"
	case recording.OwnerKernel:
		return "the kernel", "sockets without a file"
	case recording.OwnerOther:
		return "other owners", "beyond the bound on groups"
	case recording.OwnerUnreachable:
		return unreachableName, unreachableWhere
	}
	return "not known", "the recording does not say whose they are"
}

// What the books alone know has no group.
const (
	unreachableName  = "unreachable"
	unreachableWhere = "in no table and no process, by the books"
)

// listenerName is the address of a listener and the process that has it.
func listenerName(g *recording.Group, listeners []recording.Listener) string {
	name := orNone(g.Listener, "an unknown listener")
	for i := range listeners {
		l := &listeners[i]
		if l.Address == g.Listener && l.Netns == g.Netns && l.Comm != "" {
			return name + " (" + l.Comm + ")"
		}
	}
	return name
}
