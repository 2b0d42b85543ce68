package check

import (
	"errors"
	"fmt"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// A kernel does not run a BPF program that is already running on the same CPU. Where an interrupt comes while one runs, for
// whichever program's packets, what the interrupt does is not reported. The kernel counts what it has skipped, and a
// recording has the number: the trace may fall short of what was done by so many, and by no more.

// skipped is that number.
func skipped(m *recording.Machine) int { return int(m.Losses.RecursionMisses) }

// Short tells whether a count of the trace can be of want events, when the kernel has skipped so many runs of programs.
func Short(n, want, skipped int) bool { return n <= want && want-n <= skipped }

var errNoTrace = errors.New("there is no trace")

// Losses wants none that only connprof can be the cause of. An accept() that the kernel skipped the hook of is none of those.
func Losses(m *recording.Machine) error {
	losses := m.Losses
	if losses.AcceptMisses <= losses.RecursionMisses {
		losses.AcceptMisses = 0
	}
	if losses.RecursionMisses = 0; losses.Total() != 0 {
		return fmt.Errorf("losses: %+v, want none", m.Losses)
	}
	return nil
}

// Opens wants the trace to have seen each connection established at the ends that the machine has.
func Opens(m *recording.Machine, conns int, roles ...kernel.Role) error {
	if m.Trace == nil {
		return errNoTrace
	}
	var errs []error
	for role, n := range map[kernel.Role]int{kernel.RoleClient: m.Trace.ClientOpens, kernel.RoleServer: m.Trace.ServerOpens} {
		want := 0
		if slices.Contains(roles, role) {
			want = conns
		}
		if !Short(n, want, skipped(m)) {
			errs = append(errs, fmt.Errorf("the trace saw %d %s endpoints open, want %d; losses %+v", n, role, want, m.Losses))
		}
	}
	return errors.Join(errs...)
}

// Types wants the trace to have counted what the walk has found, of the named types or of all.
func Types(m *recording.Machine, types ...string) error { return agree(m, skipped(m), types) }

// agree lets the trace be short by so many in all.
func agree(m *recording.Machine, short int, types []string) error {
	if m.Trace == nil {
		return errNoTrace
	}
	var errs []error
	missing := 0
	for _, row := range m.Trace.Types {
		if len(types) > 0 && !slices.Contains(types, row.Type) {
			continue
		}
		missing += row.Walk - row.Trace
		if row.Trace > row.Walk || missing > short {
			errs = append(errs, fmt.Errorf("%s %s: the trace counted %d, the walk found %d; %d are missing so far, losses %+v",
				row.Role, row.Type, row.Trace, row.Walk, missing, m.Losses))
		}
	}
	return errors.Join(errs...)
}

// batchMost is how many connections are traced and compared, the run's first.
const batchMost = 5000

// Compared wants the batch's endpoints compared by each of their types, at the ends that the machine has, and nothing compared
// that is of the other end.
func Compared(m *recording.Machine, conns int, roles ...kernel.Role) error {
	if m.Trace == nil {
		return errNoTrace
	}
	var errs []error
	batch := min(conns, batchMost)
	if m.Trace.BatchConnections != batch {
		errs = append(errs, fmt.Errorf("a batch of %d connections, want %d", m.Trace.BatchConnections, batch))
	}
	walked := map[string]int{}
	for _, row := range m.Trace.Types {
		walked[row.Role.String()+" "+row.Type] = row.Walk
		if slices.Contains(Roles, row.Role) && !slices.Contains(roles, row.Role) {
			errs = append(errs, fmt.Errorf("%s %s is compared, an object of the other machine", row.Role, row.Type))
		}
	}
	for _, role := range roles {
		for _, typ := range OneEach {
			if n := walked[role.String()+" "+typ]; n != batch {
				errs = append(errs, fmt.Errorf("%s %s is compared for %d endpoints, want %d", role, typ, n, batch))
			}
		}
	}
	return errors.Join(errs...)
}

// Hooks wants all hooks attached, each with the rung it got, and a reason why connect and accept have no better one. It is for
// runs in which no rung was asked for.
func Hooks(m *recording.Machine) error {
	var errs []error
	names := []kernel.HookName{}
	for _, h := range m.Hooks {
		name := h.Name
		names = append(names, name)
		rung := name == kernel.HookConnect || name == kernel.HookAccept
		if !h.Attached || h.Kind == "" || h.Function == "" || rung && h.Kind != kernel.KindKprobe && h.Note == "" {
			errs = append(errs, fmt.Errorf("hook %+v: want it attached, its rung, and why it has no better one", h))
		}
	}
	for _, want := range []kernel.HookName{kernel.HookConnect, kernel.HookAccept, kernel.HookState, kernel.HookDestroy,
		kernel.HookSlab, kernel.HookWalk} {
		if !slices.Contains(names, want) {
			errs = append(errs, fmt.Errorf("no hook %s among %v", want, names))
		}
	}
	return errors.Join(errs...)
}

// Hits wants a hook to have fired once for each connection. It may have more than one row, one a function. A kprobe's program
// is not skipped, for it runs in a task's own time and is not preempted; nor are those of the other kinds that are named.
func Hits(m *recording.Machine, name kernel.HookName, conns int, exact ...kernel.HookKind) error {
	exact = append(exact, kernel.KindKprobe)
	hits, all := 0, false
	for _, h := range m.Hooks {
		if h.Name == name {
			hits += int(h.Hits)
			all = all || slices.Contains(exact, h.Kind)
		}
	}
	if hits != conns && (all || !Short(hits, conns, skipped(m))) {
		return fmt.Errorf("hook %s: %d hits, want %d; losses %+v", name, hits, conns, m.Losses)
	}
	return nil
}

// Rung wants a hook on a rung of the ladder.
func Rung(m *recording.Machine, name kernel.HookName, kind kernel.HookKind) error {
	var errs []error
	found := false
	for _, h := range m.Hooks {
		if h.Name != name {
			continue
		}
		found = true
		if h.Kind != kind || !h.Attached {
			errs = append(errs, fmt.Errorf("hook %s on %s: kind %q, attached %v (%s), want an attached %s", name, h.Function, h.Kind,
				h.Attached, h.Note, kind))
		}
	}
	if !found {
		return fmt.Errorf("hook %s: not among the %d hooks", name, len(m.Hooks))
	}
	return errors.Join(errs...)
}
