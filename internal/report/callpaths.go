package report

import (
	"fmt"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// CallPaths says how far the shape of the call paths can be trusted; their sums are the walk's and exact.
type CallPaths struct {
	Sentences []string // one, or one for each machine
	Warn      bool
}

func callPathsOf(r *recording.Recording) CallPaths {
	if len(r.Stacks()) == 0 {
		return CallPaths{Sentences: []string{"No call paths were recorded."}}
	}
	var said []string
	warn := false
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
	return CallPaths{said, warn}
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
	sentence = fmt.Sprintf("%s, one in about %s%s.", format.Plural(q.Samples, "stack sampled", "stacks sampled"),
		format.Plural(q.Interval, "allocation", "allocations"), m.forTheBatch())
	if q.SymbolisedRatio > 0 {
		sentence += fmt.Sprintf(" %s of the bytes lie under paths with every frame named; how they divide among paths has a "+
			"standard error of %s.", format.Percent(q.SymbolisedRatio, 1), format.Percent(q.ErrorRatio, 1))
	}
	unsampled := 0
	for _, s := range m.Stacks {
		if s.Samples == 0 {
			unsampled++
		}
	}
	if unsampled > 0 {
		sentence += fmt.Sprintf(" For %s no stack was sampled, so no path is known.",
			format.Plural(unsampled, "object type of a role", "object types of a role"))
	}
	return sentence, true
}
