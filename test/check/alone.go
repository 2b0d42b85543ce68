package check

import (
	"errors"
	"fmt"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
)

// Alone is Idle on a kernel on which nothing else runs, with the rung that connect and accept got. The kernel skips no program
// there, unless it preempts them.
func Alone(m *recording.Machine, kind kernel.HookKind, ips, conns int) error {
	errs := []error{Idle(m, ips, conns), unskipped(m)}
	for _, name := range []kernel.HookName{kernel.HookConnect, kernel.HookAccept} {
		errs = append(errs, Rung(m, name, kind), Hits(m, name, conns, kernel.KindFentry))
	}
	return errors.Join(errs...)
}

// AloneIn holds a run against what its scenario promises: every end in its state, each of its objects in a cache with a name,
// and nothing lost or doubted. While a scenario is arranged, an interrupt may come while the slab program runs, and the kernel
// skips that program for all that is allocated in its softirqs. It was up to a hundredth of the allocations, and nothing of
// the account rests on them.
func AloneIn(m *recording.Machine, s load.Scenario, conns int) error {
	errs := []error{Load(m, conns), Losses(m), Scenario(m, s, conns), Caches(m), Notes(m)}
	if !s.Acts() {
		errs = append(errs, unskipped(m))
	}
	short := 0 // the batch is counted before that
	if Preempts(m.Host.Kernel) {
		short = skipped(m)
	}
	return errors.Join(append(errs, agree(m, short, OneEach))...)
}

// unskipped wants no run of a program skipped, but where the kernel preempts programs.
func unskipped(m *recording.Machine) error {
	if skipped(m) != 0 && !Preempts(m.Host.Kernel) {
		return fmt.Errorf("losses: %+v, want none", m.Losses)
	}
	return nil
}

// Preempts tells whether a kernel may preempt a tracepoint program: what other tasks do on that CPU until it goes on is
// skipped.
func Preempts(release string) bool { return strings.HasPrefix(release, "7.2.") }

// Growth wants the account to explain the kernel's slab growth but for a part of it. It is the growth of all that runs there.
func Growth(m *recording.Machine, most float64) error {
	rec := m.Reconcile
	if rec == nil || rec.SlabDeltaBytes <= 0 || rec.UnexplainedRatio > most || rec.UnexplainedRatio < -most {
		return fmt.Errorf("want growth of slab memory, and at most %.1f %% of it unexplained: %+v, notes %q", 100*most, rec, m.Notes)
	}
	return nil
}
