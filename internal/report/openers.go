package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// OpenerTable is who opened connections, and what is beyond the bound.
type OpenerTable struct {
	Rows   []OpenerRow
	Others *OpenerRow // the sum of the rest, nil where there is none
}

// OpenerRow is one opener. Its names are safe to print. Sizes are bytes.
type OpenerRow struct {
	Kind recording.OpenerKind
	Who  string // the process, or what stands in its place
	// Code is the frames that matter, the deepest first; Frames are all of them, root first.
	Code   []Frame
	Frames []Frame
	Role   kernel.Role
	// Where is the container of the process.
	Where                        string
	Opened, Closed, Failed, Live int
	Slab, Buffers                uint64
	Lifetime                     *recording.Percentiles
	Idle                         *recording.Spread
	Stack                        recording.StackKind
	Why                          string
	from                         *recording.Opener
	at                           int // in the machine's list
}

// callersShown is how many frames above the one that matters are shown.
const callersShown = 2

// All is the slab pages and buffers of what is still open.
func (r *OpenerRow) All() float64 { return float64(r.Slab) + float64(r.Buffers) }

// Call is the system call that its connections come from.
func (r *OpenerRow) Call() string { return callOf(r.from) }

// Name is the frame that matters, or the words of a kind that has none.
func (r *OpenerRow) Name() string {
	if len(r.Code) == 0 {
		return kindWords(r.from)
	}
	return r.Code[0].String()
}

// Path is the frames that matter as one reads them, the deepest first.
func (r *OpenerRow) Path() string {
	if len(r.Code) == 0 {
		return kindWords(r.from)
	}
	names := make([]string, len(r.Code))
	for i := range r.Code {
		names[i] = r.Code[i].String()
	}
	return strings.Join(names, " ← ")
}

// Opener is the recording's, as fit to be shown as the report's other texts.
func (r *OpenerRow) Opener() *recording.Opener { return r.from }

// States names the states of what is still open, the most first.
func (r *OpenerRow) States() string { return statesSaid(r.from.States) }

func statesSaid(states []recording.StateCount) string {
	parts := make([]string, len(states))
	for i, s := range states {
		parts[i] = format.Count(s.Count) + " " + format.Clean(s.State)
	}
	return strings.Join(parts, ", ")
}

// Peers are the remote addresses of what is still open, the most first.
func (r *OpenerRow) Peers() []recording.PeerCount { return r.from.Peers }

// callOf is the system call, empty where no call is known.
func callOf(o *recording.Opener) string {
	switch {
	case o.Kind != recording.OpenerPath && o.Kind != recording.OpenerProcess:
		return ""
	case o.Role == kernel.RoleServer:
		return "accept()"
	}
	return "connect()"
}

// kindWords say what an opener is that has no code.
func kindWords(o *recording.Opener) string {
	switch o.Kind {
	case recording.OpenerListener:
		return "came in at " + orNone(format.Clean(o.Listener), "an unknown listener")
	case recording.OpenerKernel:
		return "a thread of the kernel"
	case recording.OpenerBefore:
		return "opened before"
	case recording.OpenerUnseen:
		return "the event that opened them was missed"
	case recording.OpenerOther:
		return "all other code paths"
	}
	if o.Why != "" {
		return "code not known: " + format.Clean(o.Why)
	}
	return "code not known"
}

// whoOpened is the process of an opener, or how many of its name there are, or what stands in its place.
func whoOpened(o *recording.Opener, pid bool) string {
	name := format.Clean(o.Comm)
	switch {
	case o.Kind == recording.OpenerBefore:
		return "opened before"
	case o.Kind == recording.OpenerOther:
		return "others"
	case o.Kind == recording.OpenerUnseen:
		return "not seen"
	case name == "" && o.Kind == recording.OpenerListener:
		return "accept queue"
	case name == "" && o.Kind == recording.OpenerKernel:
		return "the kernel"
	case name == "":
		name = "a process without name"
	}
	switch {
	case pid && len(o.PIDs) > 1:
		name += " x" + strconv.Itoa(len(o.PIDs))
	case pid && o.PID > 0:
		name += " " + strconv.Itoa(o.PID)
	}
	return name
}

func openerRow(m *recording.Machine, at int) OpenerRow {
	o := &m.Openers[at]
	row := OpenerRow{Kind: o.Kind, Who: whoOpened(o, true), Role: o.Role, Opened: max(o.Opened, 0), Closed: max(o.Closed, 0),
		Failed: max(o.Failed, 0), Live: max(o.Live, 0), Slab: o.LivePageBytes, Buffers: o.LiveBufferBytes, Lifetime: o.Lifetime, Idle: o.Idle,
		Stack: o.Stack, Why: format.Clean(o.Why), Frames: framesOf(m, o), from: o, at: at}
	row.Code = matter(row.Frames, 1+callersShown)
	if o.Container != "" {
		row.Where = "container " + shortID(format.Clean(o.Container))
	}
	return row
}

// openerRows are all openers of a machine, those that hold most first.
func openerRows(m *recording.Machine) []OpenerRow {
	rows := make([]OpenerRow, len(m.Openers))
	for i := range m.Openers {
		rows[i] = openerRow(m, i)
	}
	slices.SortStableFunc(rows, func(a, b OpenerRow) int {
		return cmp.Or(cmp.Compare(b.All(), a.All()), cmp.Compare(b.Live, a.Live), cmp.Compare(b.Opened, a.Opened), cmp.Compare(b.Failed, a.Failed),
			strings.Compare(a.Who, b.Who))
	})
	return rows
}

func newOpenerTable(rows []OpenerRow, most int) OpenerTable {
	t := OpenerTable{Rows: rows[:min(most, len(rows))]}
	rest := rows[len(t.Rows):]
	if len(rest) == 0 {
		return t
	}
	sum := &OpenerRow{Kind: recording.OpenerOther, Who: format.Plural(len(rest), "other", "others"), from: &recording.Opener{Kind: recording.OpenerOther}}
	for i := range rest {
		r := &rest[i]
		sum.Opened, sum.Closed = added(sum.Opened, r.Opened), added(sum.Closed, r.Closed)
		sum.Failed, sum.Live = added(sum.Failed, r.Failed), added(sum.Live, r.Live)
		sum.Slab, sum.Buffers = sum.Slab+r.Slab, sum.Buffers+r.Buffers
	}
	t.Others = sum
	return t
}

// added is a sum that stays a count, whatever a recording says.
func added(a, b int) int {
	if b > math.MaxInt-a {
		return math.MaxInt
	}
	return a + b
}

// openerName is what an opener is called where a table is divided by it, and what tells it from others of another recording: not
// the number of the process.
func openerName(m *recording.Machine, number int) (id, name string) {
	if number < 1 || number > len(m.Openers) {
		return "", "no opener"
	}
	o := &m.Openers[number-1]
	row := openerRow(m, number-1)
	name = row.Name()
	if len(row.Code) > 0 {
		name = whoOpened(o, false) + ": " + name
	} else if who := whoOpened(o, false); o.Comm != "" {
		name = who + ": " + name
	}
	return openerKey(m, o), name
}

// openerKey tells code paths of one recording from those of another, in which processes have other numbers.
func openerKey(m *recording.Machine, o *recording.Opener) string {
	parts := []string{string(o.Kind), o.Comm, o.Role.String(), o.Listener}
	for _, f := range framesOf(m, o) {
		parts = append(parts, f.Name)
	}
	return joined(parts...)
}

// Lived writes a lifetime: short ones with their fractions.
func Lived(seconds float64) string {
	switch {
	case math.IsNaN(seconds) || seconds < 0:
		return format.None
	case seconds < 0.00995:
		return format.Decimal(seconds*1000) + " ms"
	case seconds < 0.9995:
		return format.Count(int64(math.Round(seconds*1000))) + " ms"
	case seconds < 9.95:
		return format.Decimal(seconds) + " s"
	}
	return format.Span(seconds)
}
