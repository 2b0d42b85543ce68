package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Record is what is shown of a record beside the look at its end.
type Record struct {
	Sentence string
	Rest     string // what became of the rest of the host's memory; empty where it was not measured
	Tiles    []Tile
	Openers  OpenerTable
	// All are the openers where there is place for more rows.
	All            OpenerTable
	Grows          []Finding
	Failures       []Failure
	NeverConnected string // empty: none
	Churn          []ChurnLine
	Stacks         []Fact
	Timeline       []recording.RecordPoint
	Seconds        float64
	machine        *recording.Machine
}

// Everyone are the openers in the recording's order.
func (v *Record) Everyone() []*OpenerRow {
	rows := make([]*OpenerRow, len(v.machine.Openers))
	for i := range rows {
		row := openerRow(v.machine, i)
		rows[i] = &row
	}
	return rows
}

// Failure is one reason why connects of one path failed.
type Failure struct {
	Error, Who, Path string
	Count            int
}

// ChurnLine is what was opened to one service, or came in at one listener.
type ChurnLine struct {
	What                         string // to 10.0.0.7:5432, or at *:443
	Role                         kernel.Role
	Opened, Closed, Failed, Live int
	Rate                         string // opened a second
}

// recordIn is the machine that a recording's record is of, nil where it has none. A record has a look at its end.
func recordIn(r *recording.Recording) *recording.Machine {
	if m := lookIn(r); m != nil && m.Record != nil {
		return m
	}
	return nil
}

func recordOf(r *recording.Recording, o Options) *Record {
	m := recordIn(r)
	if m == nil {
		return nil
	}
	rows := openerRows(m)
	v := &Record{Sentence: recordSentence(m), Rest: restSentence(m), Tiles: recordTiles(m), Openers: newOpenerTable(rows, o.Rows),
		All: newOpenerTable(rows, maxOwners), Grows: grows(m, rows), Failures: failuresOf(rows), Churn: churnOf(m), Stacks: stackFacts(m),
		Timeline: m.Record.Timeline, Seconds: m.Record.Seconds, machine: m}
	if n := m.Record.NeverConnected; n > 0 {
		v.NeverConnected = format.Plural(n, "socket was closed", "sockets were closed") + " without ever having been connected, accepted or listening."
	}
	return v
}

// liveBytes is what the connections hold that were opened meanwhile and are still open.
func liveBytes(m *recording.Machine) (sum Bytes) {
	for i := range m.Openers {
		if o := &m.Openers[i]; o.Kind != recording.OpenerBefore && o.Kind != recording.OpenerUnseen {
			sum.Slab += o.LivePageBytes
			sum.Buffers += o.LiveBufferBytes
		}
	}
	return sum
}

func recordSentence(m *recording.Machine) string {
	r := m.Record
	s := "In " + howLong(r.Seconds)
	if len(r.Command) > 0 {
		s += " of " + format.Shorten(format.Command(r.Command), whereWidth)
		if r.CommandStatus != "" {
			s += " (" + format.Clean(r.CommandStatus) + ")"
		}
	}
	if r.Opened <= 0 {
		return s + " no connection was opened."
	}
	s += " " + format.Plural(r.Opened, "connection was opened", "connections were opened")
	s += "; " + format.Count(r.Closed) + " of them " + wasWere(r.Closed) + " closed, "
	switch {
	case r.Failed > 0:
		s += "among these " + format.Count(r.Failed) + " that never came up; "
	default:
		s += "none failed; "
	}
	if r.Live <= 0 {
		return s + "none is still open."
	}
	sum := liveBytes(m)
	verb := "are still open and hold"
	if r.Live == 1 {
		verb = "is still open and holds"
	}
	return s + fmt.Sprintf("%s %s %s of slab and %s of buffers.", format.Count(r.Live), verb, format.Size(float64(sum.Slab)),
		format.Size(float64(sum.Buffers)))
}

func wasWere(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// restSentence is what became of the host's slab memory that is not TCP's.
func restSentence(m *recording.Machine) string {
	rec := m.Reconcile
	if rec == nil {
		return ""
	}
	all, ours := float64(rec.SlabDeltaBytes), float64(rec.AccountedPageBytes)
	return "Meanwhile the host's Slab " + changedBy(all) + ": all TCP sockets " + changedBy(ours) + ", the rest of the host " + changedBy(all-ours) + "."
}

func changedBy(bytes float64) string {
	switch {
	case bytes > 0:
		return "grew by " + format.Size(bytes)
	case bytes < 0:
		return "shrank by " + format.Size(-bytes)
	}
	return "did not change"
}

// howLong writes the time of a record: 60 s, 2.50 s.
func howLong(seconds float64) string {
	if seconds >= 9.95 && seconds < 1e9 {
		return format.Count(int64(math.Round(seconds))) + " s"
	}
	return format.Seconds(seconds)
}

func recordTiles(m *recording.Machine) []Tile {
	r, sum := m.Record, liveBytes(m)
	count := func(label string, n int, detail string) Tile {
		return Tile{Label: label, Value: format.Count(n), Detail: detail}
	}
	tiles := []Tile{count("opened", r.Opened, rate(r.Opened, r.Seconds)), count("closed", r.Closed, rate(r.Closed, r.Seconds)),
		count("failed", r.Failed, "never came up"), count("still open", r.Live, format.Size(sum.All())+" of kernel memory")}
	tiles[2].Warn = r.Failed > 0
	if rec := m.Reconcile; rec != nil {
		t := sizeTile("rest of Slab", float64(rec.SlabDeltaBytes)-float64(rec.AccountedPageBytes), "change meanwhile, not TCP's")
		tiles = append(tiles, t)
	}
	if all := r.Stacks.Whole + r.Stacks.Part + r.Stacks.None; all > 0 {
		value, unit, _ := strings.Cut(format.Percent(float64(r.Stacks.Whole), float64(all)), " ")
		tiles = append(tiles, Tile{Label: "whole stacks", Value: value, Unit: unit, Detail: "of what was opened"})
	}
	return append(tiles, Tile{Label: "lost events", Value: format.Count(m.Losses.Total()), Warn: m.Losses.Total() > 0})
}

func rate(n int, seconds float64) string {
	if seconds <= 0 || n <= 0 {
		return format.None
	}
	return format.Decimal(float64(n)/seconds) + "/s"
}

// failuresOf are the reasons of all openers, the most frequent first.
func failuresOf(rows []OpenerRow) []Failure {
	var list []Failure
	for i := range rows {
		for _, e := range rows[i].from.Errors {
			if e.Count > 0 {
				list = append(list, Failure{format.Clean(e.Error), rows[i].Who, rows[i].Path(), e.Count})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Error, b.Error))
	})
	return list
}

// churnOf names the network namespace where there are several.
func churnOf(m *recording.Machine) []ChurnLine {
	namespaces := map[uint32]bool{}
	for i := range m.Record.Churn {
		namespaces[m.Record.Churn[i].Netns] = true
	}
	list := make([]ChurnLine, 0, len(m.Record.Churn))
	for i := range m.Record.Churn {
		c := &m.Record.Churn[i]
		what := "to "
		if c.Role == kernel.RoleServer {
			what = "at "
		}
		what += orNone(format.Clean(c.Address), "an unknown address")
		if len(namespaces) > 1 && c.Netns != 0 {
			what += fmt.Sprintf(" in netns %d", c.Netns)
		}
		list = append(list, ChurnLine{what, c.Role, max(c.Opened, 0), max(c.Closed, 0), max(c.Failed, 0), max(c.Live, 0), rate(c.Opened, m.Record.Seconds)})
	}
	return list
}

// stackFacts say of how many opens the code is known, and why not of all.
func stackFacts(m *recording.Machine) []Fact {
	s := &m.Record.Stacks
	all := float64(s.Whole) + float64(s.Part) + float64(s.None)
	if all <= 0 {
		return nil
	}
	share := func(n int) string { return format.Percent(float64(n), all) + ", " + format.Plural(n, "open", "opens") }
	facts := []Fact{{Key: "whole", Value: share(s.Whole)}, {Key: "a part", Value: share(s.Part), Warn: s.Part > 0},
		{Key: "none", Value: share(s.None), Warn: s.None > 0}}
	for i, why := range s.Reasons {
		key := ""
		if i == 0 {
			key = "why"
		}
		facts = append(facts, Fact{Key: key, Value: format.Clean(why.Reason) + ": " + format.Plural(why.Count, "open", "opens")})
	}
	return append(facts, Fact{Key: "copied", Value: format.Plural(s.Copied, "stack was copied and unwound", "stacks were copied and unwound") +
		", the others were recognised"})
}

// watchFacts say by which hooks a record was made, and what they have missed. A look has none of them.
func watchFacts(m *recording.Machine) []Fact {
	r := m.Record
	if r == nil {
		return nil
	}
	facts := []Fact{{Key: "open before", Value: format.Plural(r.Before, "connection", "connections") + ", of which " +
		format.Count(r.BeforeClosed) + " " + wasWere(r.BeforeClosed) + " closed meanwhile"}}
	var on []string
	for i := range m.Hooks {
		if h := &m.Hooks[i]; h.Attached {
			if said := format.Clean(h.Function) + " (" + format.Clean(string(h.Kind)) + ")"; !slices.Contains(on, said) {
				on = append(on, said)
			}
		} else {
			facts = append(facts, Fact{"no hook", format.Clean(h.Function) + ": " + orNone(format.Clean(h.Note), "not attached"), true})
		}
	}
	if len(on) > 0 {
		facts = append(facts, Fact{Key: "hooks", Value: strings.Join(on, ", ")})
	}
	if r.Vanished > 0 {
		facts = append(facts, Fact{"close missed", format.Plural(r.Vanished, "connection was", "connections were") +
			" not found at the end, and no event has closed them; they are in closed", true})
	}
	if r.Unseen > 0 {
		facts = append(facts, Fact{"open missed", format.Plural(r.Unseen, "socket was", "sockets were") +
			" found at the end, and no event has opened them", true})
	}
	return facts
}
