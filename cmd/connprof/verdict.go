package main

import (
	"fmt"
	"strings"

	"github.com/connprof/connprof/internal/recording"
)

// outcome is an error where not all connections came up, or not into their scenario.
func (f *runFlags) outcome(rec *recording.Recording) error {
	l := rec.Load()
	if rec.Interrupted != "" {
		return fmt.Errorf("stopped early with %d of %d connections up: %s; the account covers what was up",
			l.Established, l.Requested, rec.Interrupted)
	}
	if missing := max(l.Requested-rec.Established(), unarranged(rec)); missing > 0 {
		return fmt.Errorf("%d of %d connections %s", missing, l.Requested, shortfall(rec))
	}
	return nil
}

// verdict turns what the recording says into the command's outcome.
func (f *runFlags) verdict(rec *recording.Recording) error {
	if err := f.outcome(rec); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	for _, row := range rec.Rows() {
		each := float64(row.PageBytes) / float64(max(row.Count, 1))
		if limit, ok := f.budgets[row.Role]; ok && each > limit {
			return budgetError{fmt.Errorf("run: a %s endpoint in %s costs %.1f page bytes, over its budget of %g; "+
				"connprof report %s shows where they go", row.Role, row.State, each, limit, f.output)}
		}
	}
	return nil
}

// unarranged is how many connections are not in the scenario, by the end that says so of more.
func unarranged(rec *recording.Recording) int {
	most := 0
	for _, m := range rec.Machines {
		n := 0
		if m.Load != nil {
			for _, f := range m.Load.Failures {
				if f.Step == recording.StepScenario {
					n = max(n, f.Count)
				}
			}
		}
		most = max(most, n)
	}
	return most
}

// shortfall says what the missing connections have not done, and why.
func shortfall(rec *recording.Recording) string {
	l := rec.Load()
	what, covered := "were not established", "the others"
	switch {
	case l.Failed > 0:
	case l.Server != nil:
		what, covered = "are up no longer", "what there is"
	default:
		what, covered = "are not as scenario "+l.Scenario+" holds them", "what there is"
	}
	reasons := []string{}
	for _, m := range rec.Machines {
		if m.Load == nil {
			continue
		}
		for _, r := range m.Load.Failures {
			reasons = append(reasons, fmt.Sprintf("%d x %s: %s", r.Count, r.Step, r.Error))
		}
	}
	if len(reasons) > 0 {
		what += " (" + strings.Join(reasons, ", ") + ")"
	}
	return what + answerHint(l.Exchange) + "; the account covers " + covered
}

// answerHint says more of an answer that was not the expected one.
func answerHint(x *recording.Exchange) string {
	switch {
	case x == nil || x.OtherAnswer == "":
		return ""
	case x.ExpectedBytes > 0:
		return fmt.Sprintf("; the first answer began %q, and --expect %d is a number of bytes: for that text write --expect '(%d)'", x.OtherAnswer,
			x.ExpectedBytes, x.ExpectedBytes)
	}
	return fmt.Sprintf("; the first answer began %q", x.OtherAnswer)
}
