package html

import (
	"io"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
)

// recordView is what only the page of a record has.
type recordView struct {
	*report.Record
	Rows   []openerView
	Others *openerView
	Legend []string
	More   bool // processes than the legend has
	Charts []*chart
	code   *codeData
}

// openerView is a row of the table of code paths: texts to read, and the figures that the page's script sorts by.
type openerView struct {
	Name, Callers, Who, Where, Role, States string
	Opened, Closed, Failed, Live            int
	Bytes, BytesExact                       string
	P50, P90, P99                           string
	Seconds                                 [3]string
	At                                      int // in the code's openers
	NoCode                                  bool
}

// writeRecord writes the page of a record: a flame graph of the programs' code, the code paths, the course, and the look at its end.
func writeRecord(w io.Writer, r *report.Report) error {
	p := newPage("connprof: " + r.Command)
	v := r.Record
	p.Aside, p.Sentence, p.Detail, p.Alerts, p.Tiles = r.Host, v.Sentence, strings.TrimSpace(v.Rest+" "+r.Look.Took), r.Alerts, v.Tiles
	code := v.Code()
	p.Look = newLookView(r)
	p.Record = &recordView{Record: v, Legend: code.Processes, code: newCodeData(code)}
	p.Record.More = slices.ContainsFunc(code.Openers, func(o report.CodeOpener) bool { return o.Process >= len(code.Processes) })
	for i := range v.All.Rows {
		p.Record.Rows = append(p.Record.Rows, newOpenerView(&v.All.Rows[i], i))
	}
	if o := v.All.Others; o != nil {
		row := newOpenerView(o, len(v.All.Rows))
		p.Record.Others = &row
	}
	if len(v.Timeline) > 1 {
		p.Record.Charts = []*chart{newRecordChart(v.Timeline)}
	}
	return p.write(w)
}

func newOpenerView(r *report.OpenerRow, at int) openerView {
	v := openerView{Name: r.Name(), Who: r.Who, Where: r.Where, States: r.States(), Opened: r.Opened, Closed: r.Closed, Failed: r.Failed,
		Live: r.Live, Bytes: format.None, BytesExact: format.Plain(r.All()), P50: format.None, P90: format.None, P99: format.None, At: at,
		NoCode: len(r.Code) == 0}
	switch r.Kind {
	case recording.OpenerBefore, recording.OpenerUnseen, recording.OpenerOther:
	default:
		v.Role = r.Role.String()
	}
	if r.All() > 0 {
		v.Bytes = format.Size(r.All())
	}
	if len(r.Code) > 1 {
		_, v.Callers, _ = strings.Cut(r.Path(), " ← ")
	}
	if l := r.Lifetime; l != nil {
		v.P50, v.P90, v.P99 = report.Lived(l.P50), report.Lived(l.P90), report.Lived(l.P99)
		v.Seconds = [3]string{format.Plain(l.P50), format.Plain(l.P90), format.Plain(l.P99)}
	}
	return v
}
