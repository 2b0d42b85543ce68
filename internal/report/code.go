package report

import (
	"cmp"
	"slices"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Code is the openers of a record for a page that draws them as a tree: process, code from its root on, the call. Names are safe to
// print.
type Code struct {
	// Processes are those that have a colour of their own.
	Processes []string
	Openers   []CodeOpener
}

// CodeOpener is one opener, in the order of Record.All; the last may be the sum of all others.
type CodeOpener struct {
	OpenerRow
	Process int      // index into Processes, or their number
	Way     []string // from the process to the call
	Labels  []string // the same, without what makes names long
	Places  []string // file:line of each name of Way, empty where it is not known
	Parts   []Part   // of the bytes that are still open
}

// maxProcesses is how many colours there are for processes.
const maxProcesses = 7

// Code is what a page's flame graph is made from.
func (v *Record) Code() *Code {
	c := &Code{}
	rows := v.All.Rows
	if v.All.Others != nil {
		rows = append(rows[:len(rows):len(rows)], *v.All.Others)
	}
	c.Processes = largest(rows)
	for i := range rows {
		process := slices.Index(c.Processes, whoOpened(rows[i].from, false))
		if process < 0 {
			process = maxProcesses
		}
		c.Openers = append(c.Openers, v.codeOpener(&rows[i], process))
	}
	return c
}

// largest are the processes that have most of anything that a flame graph is of: bytes, sockets still open, opened, failed.
func largest(rows []OpenerRow) []string {
	var names []string
	var sum [4]float64
	of := map[string]*[4]float64{}
	for i := range rows {
		r, name := &rows[i], whoOpened(rows[i].from, false)
		if of[name] == nil {
			of[name] = &[4]float64{}
			names = append(names, name)
		}
		for k, v := range []float64{r.All(), float64(r.Live), float64(r.Opened), float64(r.Failed)} {
			of[name][k] += v
			sum[k] += v
		}
	}
	share := func(name string) (most float64) {
		for k, v := range of[name] {
			most = max(most, format.Ratio(v, sum[k]))
		}
		return most
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(share(b), share(a)) })
	return names[:min(len(names), maxProcesses)]
}

func (v *Record) codeOpener(row *OpenerRow, process int) CodeOpener {
	o := row.from
	c := CodeOpener{OpenerRow: *row, Process: process, Way: codeWay(v.machine, o)}
	c.Way[0] = row.Who
	c.Places = make([]string, len(c.Way))
	c.Labels = slices.Clone(c.Way)
	for i := range row.Frames {
		c.Labels[1+i] = row.Frames[i].Short()
		c.Places[1+i] = row.Frames[i].Place()
	}
	sum := *o
	sum.LivePageBytes, sum.LiveBufferBytes = row.Slab, row.Buffers // of a sum of rows there is no more
	for _, p := range openPortions(&sum) {
		if p.Bytes > 0 {
			c.Parts = append(c.Parts, Part{p.Type, p.Cache, CategoryOf(p.Type), p.Bytes})
		}
	}
	return c
}

// StateCounts are the states of what is still open, the most first.
func (r *OpenerRow) StateCounts() []StateCount {
	list := make([]StateCount, len(r.from.States))
	for i, s := range r.from.States {
		list[i] = StateCount{format.Clean(s.State), max(s.Count, 0)}
	}
	return list
}

// ErrorCounts are why connects failed, the most first.
func (r *OpenerRow) ErrorCounts() []recording.OpenerError { return r.from.Errors }
