package screen

import (
	"fmt"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/top"
)

// column is one of a table. The first one takes the width that the others leave.
type column struct {
	title string
	width int
	// order is its place when columns have to go: the highest goes first, 0 never.
	order int
	sort  string // the order of top.Orders by which it sorts
}

// row is one row of a table. Cells are as many as the level's columns.
type row struct {
	id    string
	cells []string
	grows bool
}

var ownerColumns = []column{{"owner", 18, 0, ""}, {"sockets", 9, 0, "sockets"}, {"change", 7, 2, "change"}, {"slab", 8, 0, "slab"},
	{"buffers", 8, 1, "buffers"}, {"unread", 8, 6, "unread"}, {"a socket", 8, 7, "each"}, {"opens/s", 7, 3, "opens"}, {"closes/s", 8, 4, "closes"},
	{"idle", 6, 5, "idle"}}

var stateColumns = []column{{"state", 18, 0, ""}, {"sockets", 9, 0, "sockets"}, {"slab", 8, 0, "slab"}, {"buffers", 8, 1, "buffers"},
	{"unread", 8, 3, "unread"}, {"a socket", 8, 4, "each"}, {"idle", 6, 2, "idle"}}

var socketColumns = []column{{"local address > remote address", 30, 0, ""}, {"slab", 8, 0, ""}, {"buffers", 8, 1, ""}, {"unread", 8, 3, ""},
	{"idle", 6, 2, ""}, {"age", 6, 4, ""}}

// columns are those of the level.
func (m *Model) columns() []column {
	switch m.here().kind {
	case owners:
		return ownerColumns
	case states:
		return stateColumns
	}
	return socketColumns
}

// rows are those of the level.
func (m *Model) rows() []row {
	if m.tick == nil {
		return nil
	}
	switch l := m.here(); l.kind {
	case owners:
		return ownerRows(m.tick.Owners)
	case states:
		return m.stateRows(l)
	case sockets:
		return m.socketRows()
	}
	return nil
}

// ids are what tells the rows of the level apart, in their order.
func (m *Model) ids() (ids []string) {
	if m.tick == nil {
		return nil
	}
	switch l := m.here(); l.kind {
	case owners:
		for i := range m.tick.Owners {
			ids = append(ids, m.tick.Owners[i].ID())
		}
	case states:
		for _, r := range m.stateRows(l) {
			ids = append(ids, r.id)
		}
	case sockets:
		if !m.listed() {
			return nil
		}
		for i := range m.tick.Machine.Top {
			ids = append(ids, socketID(&m.tick.Machine.Top[i]))
		}
	}
	return ids
}

func size(n uint64) string { return format.Compact(float64(n)) }

func ownerRows(list []top.Owner) []row {
	rows := make([]row, len(list))
	for i := range list {
		o := &list[i]
		name := o.Name()
		if o.Where != "" { // tells those of one name apart
			name += "  " + o.Where
		}
		rows[i] = row{o.ID(), []string{name, format.Count(o.Sockets), format.Signed(int64(o.Change)), size(o.Slab), size(o.Buffers), size(o.Unread),
			format.Compact(o.Each()), rate(o.Opens), rate(o.Closes), span(o.Idle)}, o.Grows}
	}
	return rows
}

func (m *Model) stateRows(l *level) []row {
	list, err := report.Within(m.tick.Machine, m.by(), l.id, report.Options{By: []string{"state"}, Sort: "sockets"})
	if err != nil {
		return nil
	}
	rows := make([]row, len(list))
	for i := range list {
		r := &list[i]
		rows[i] = row{r.Name(), []string{r.Name(), format.Count(r.Sockets), size(r.Slab), size(r.Buffers), size(r.Unread), format.Compact(r.Each()),
			span(r.Idle)}, false}
	}
	return rows
}

// listed tells whether the look that is shown has listed the sockets of the level.
func (m *Model) listed() bool { return m.tick != nil && m.asked.Whose == m.ask().Whose }

func (m *Model) socketRows() []row {
	if !m.listed() {
		return nil
	}
	list := m.tick.Machine.Top
	rows := make([]row, len(list))
	for i := range list {
		e := &list[i]
		rows[i] = row{socketID(e), []string{ends(e), size(e.PageBytes), size(e.BufferBytes), size(e.UnreadBytes), span(e.Idle), span(e.Age)}, false}
	}
	return rows
}

// socketID tells sockets apart.
func socketID(e *recording.TopEndpoint) string {
	return fmt.Sprint(e.Netns, " ", e.Local, " ", e.Remote, " ", e.PID)
}

func ends(e *recording.TopEndpoint) string {
	if e.State == "LISTEN" || strings.HasSuffix(e.Remote, ":0") {
		return e.Local
	}
	return e.Local + " > " + e.Remote
}

// details is one socket, a line for each thing that is known.
func (m *Model) details(l *level) []string {
	if !m.listed() {
		return []string{m.waiting()}
	}
	for i := range m.tick.Machine.Top {
		if e := &m.tick.Machine.Top[i]; socketID(e) == l.at {
			return detailsOf(e)
		}
	}
	return []string{"It is gone: closed, in another state, or no longer among the costliest."}
}

func detailsOf(e *recording.TopEndpoint) []string {
	who := format.Clean(e.Comm)
	switch {
	case e.PID > 0:
		who = fmt.Sprintf("%s, process %d", who, e.PID)
	case e.Owner != "":
		who = "no process (" + string(e.Owner) + ")"
	}
	if e.Container != "" {
		who += ", container " + format.Clean(e.Container)
	}
	state := e.State + ", " + e.Role.String()
	if e.Netns != 0 { // there are several
		state += fmt.Sprintf(", network namespace %d", e.Netns)
	}
	lines := []string{
		fmt.Sprintf("local     %s", e.Local),
		fmt.Sprintf("remote    %s", e.Remote),
		"state     " + state,
		"owner     " + who,
		fmt.Sprintf("age       %s", ageOf(e)),
		fmt.Sprintf("receive   %s in the queue, of which %s nobody has read", format.Size(float64(e.RxBytes)), format.Size(float64(e.UnreadBytes))),
		fmt.Sprintf("send      %s in the queue; %s the peer has not acknowledged", format.Size(float64(e.TxBytes)), format.Size(float64(e.UnackedBytes))),
		fmt.Sprintf("slab      %s of pages for %s of objects:", format.Size(float64(e.PageBytes)), format.Size(float64(e.ObjectBytes))),
	}
	return append(lines, objectLines(e)...)
}

// ageOf tells how old a socket is at least, and since when it carries no data. Neither is known of each.
func ageOf(e *recording.TopEndpoint) string {
	age, idle := "not known", "no data so far"
	if e.Age != nil {
		age = format.Span(*e.Age) + " or more"
	}
	if e.Idle != nil {
		idle = "no data for " + format.Span(*e.Idle)
	}
	return age + "; " + idle
}

// objectLines are its objects, the most first.
func objectLines(e *recording.TopEndpoint) []string {
	var lines []string
	for _, one := range strings.Split(top.List(e.Objects), ", ") {
		lines = append(lines, "          "+one)
	}
	return lines
}

func rate(v *float64) string {
	if v == nil {
		return format.None
	}
	return fmt.Sprintf("%.1f", *v)
}

func span(v *float64) string {
	if v == nil {
		return format.None
	}
	return format.Span(*v)
}
