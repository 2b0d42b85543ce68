package report

import (
	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// ScenarioLine is what an endpoint of one role and state costs in one scenario. Bytes are averages over the endpoints.
type ScenarioLine struct {
	Scenario             string // only in the scenario's first line
	Role, State          string
	Endpoints            string
	Object, Page, Buffer string
	Unexplained          string // of the kernel's growth, only in the first line of the end that it is of
	Warn                 bool
}

// Scenarios has a line for each role and state of each recording, in the recordings' order.
func Scenarios(recordings []*recording.Recording) []ScenarioLine {
	var lines []ScenarioLine
	for _, r := range recordings {
		lines = append(lines, scenarioLines(tidy(r))...)
	}
	return lines
}

func scenarioLines(r *recording.Recording) []ScenarioLine {
	left := map[string]machine{} // what is still to be said of a kernel, by the end that it has
	for _, m := range reconciled(r) {
		left[m.end] = m
	}
	var lines []ScenarioLine
	for _, row := range sortedRows(r) {
		if row.Role == kernel.RoleListener && r.Scenario() != scenarioListen {
			continue // the run's own listener
		}
		line := ScenarioLine{Role: row.Role.String(), State: format.Clean(row.State), Endpoints: format.Count(row.Count),
			Object: format.Each(row.ObjectBytes, row.Count), Page: format.Each(row.PageBytes, row.Count),
			Buffer: format.Each(row.BufferBytes, row.Count)}
		if len(lines) == 0 {
			line.Scenario = format.Clean(r.Scenario())
		}
		for _, end := range []string{"", line.Role} {
			if m, found := left[end]; found {
				line.Unexplained, line.Warn = unexplainedShare(m.Reconcile)
				delete(left, end)
			}
		}
		lines = append(lines, line)
	}
	return lines
}
