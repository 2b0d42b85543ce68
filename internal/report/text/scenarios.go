package text

import (
	"io"

	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/terminal"
)

// WriteScenarios writes one table of what an endpoint costs in every scenario.
func (f Format) WriteScenarios(w io.Writer, lines []report.ScenarioLine) error {
	p := f.page(w)
	tab := terminal.Table{Columns: []terminal.Column{{Title: "scenario", Limit: 14}, {Title: "role", Limit: 10},
		{Title: "state", Limit: 12}, {Title: "endpoints", Right: true}, {Title: "object B each", Right: true},
		{Title: "page B each", Right: true}, {Title: "buffer B each", Right: true}, {Title: "unexplained", Right: true}}}
	for _, l := range lines {
		tab.Add(terminal.Normal.Cell(l.Scenario), terminal.Normal.Cell(l.Role), terminal.Normal.Cell(l.State),
			terminal.Normal.Cell(l.Endpoints), terminal.Normal.Cell(l.Object), terminal.Bold.Cell(l.Page),
			terminal.Normal.Cell(l.Buffer), terminal.Warn(l.Warn, terminal.Normal).Cell(l.Unexplained))
	}
	p.Table(&tab)
	return p.Flush()
}
