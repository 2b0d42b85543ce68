package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Diff is what is shown of two recordings. Everything is divided by the number of endpoints first, so that runs of different
// size can be compared.
type Diff struct {
	Older, Newer *Report
	Answer       DiffAnswer
	Tiles        []Tile
	Recordings   []Difference
	Rows         []RowChange
	Warnings     []string // reasons not to trust the comparison
	Paths        []*Path
	Counts       map[kernel.Role]int // endpoints, of the newer where it has any
	// Growth is how two looks at a host differ, nil where not both recordings are looks. It takes the place of Rows: the sockets of
	// a host are not all alike.
	Growth *Growth
	// Code is how two records differ beside it, nil where not both recordings are records.
	Code *CodeDiff
}

// DiffAnswer is what the newer recording says first, and how that differs from the older.
type DiffAnswer struct {
	Sentence, Detail string
	Same             bool
}

// Difference is a fact of two recordings side by side.
type Difference struct{ Key, Was, Is string }

// Compare works out the difference of two recordings.
func Compare(older, newer *recording.Recording) *Diff {
	older, newer = tidy(older), tidy(newer)
	d := compareRuns(older, newer)
	d.grow(older, newer, Options{}.of(newer))
	return d
}

// CompareWith is Compare as options have it, which count where both recordings are looks. Errors are those of Options.Check.
func CompareWith(older, newer *recording.Recording, o Options) (*Diff, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	older, newer = tidy(older), tidy(newer)
	d := compareRuns(older, newer)
	d.grow(older, newer, o.of(newer))
	return d, nil
}

// grow puts what two looks say first in the place of what runs do.
func (d *Diff) grow(older, newer *recording.Recording, o Options) {
	if d.Growth = growthOf(older, newer, o); d.Growth != nil {
		d.Answer, d.Tiles, d.Rows = growthAnswer(older, newer), growthTiles(older, newer), nil
	}
	if d.Code = codeDiffOf(older, newer, o); d.Code != nil {
		d.Answer, d.Tiles = codeAnswer(older, newer, d.Code), codeTiles(older, newer)
	}
}

func compareRuns(older, newer *recording.Recording) *Diff {
	rows := compareRows(older, newer)
	d := &Diff{Older: newReport(older), Newer: newReport(newer), Answer: changeAnswer(older, newer, rows), Tiles: diffTiles(older, newer),
		Recordings: differences(older, newer), Warnings: diffWarnings(older, newer), Paths: diffPaths(older, newer),
		Counts: newer.Counts()}
	for _, row := range rows {
		d.Rows = append(d.Rows, row.shown())
	}
	for role, n := range older.Counts() {
		if d.Counts[role] == 0 {
			d.Counts[role] = n
		}
	}
	return d
}

// changeAnswer is what the newer recording says first, and how that differs from the older.
func changeAnswer(older, newer *recording.Recording, rows []*rowChange) DiffAnswer {
	sentence := answerOf(newer).Sentence
	was, is, comparable := answerBytes(older, newer)
	change := is - was
	switch {
	case nothingChanged(rows):
		return DiffAnswer{sentence, "nothing changed: each object type costs an endpoint the same in both recordings", true}
	case !comparable:
		return DiffAnswer{sentence, "the recordings do not hold the same ends of a connection", false}
	case !changed(change):
		return DiffAnswer{sentence, "the same as before in all, though not in each part", false}
	case change > 0:
		return DiffAnswer{sentence, changeSentence(change, "more", was), false}
	}
	return DiffAnswer{sentence, changeSentence(change, "less", was), false}
}

func changeSentence(change float64, how string, was float64) string {
	return fmt.Sprintf("%s %s than before (%s, from %s)", format.Size(math.Abs(change)), how, format.SignedPercent(change, was),
		format.Size(was))
}

// answerBytes is what two recordings say first, and whether they say it of the same.
func answerBytes(older, newer *recording.Recording) (was, is float64, comparable bool) {
	a, b := connectionOf(older), connectionOf(newer)
	if !a.opened && !b.opened {
		return sumRows(older, rowPages), sumRows(newer, rowPages), true
	}
	return a.pageBytes(), b.pageBytes(), a.opened == b.opened && a.whole() == b.whole() &&
		(a.client == nil) == (b.client == nil) && (a.client != nil || a.server != nil)
}

func differences(older, newer *recording.Recording) []Difference {
	var list []Difference
	add := func(key string, value func(*recording.Recording) string) {
		if d := (Difference{key, value(older), value(newer)}); d.Was != "" || d.Is != "" {
			list = append(list, d)
		}
	}
	ofLoad := func(value func(*recording.Load) string) func(*recording.Recording) string {
		return func(r *recording.Recording) string {
			if l := r.Load(); l != nil {
				return value(l)
			}
			return ""
		}
	}
	add("recorded", createdAt)
	if machines(older) != oneMachine || machines(newer) != oneMachine {
		add("machines", machines)
	}
	add("kernel", kernels)
	add("connprof", func(r *recording.Recording) string { return format.Clean(r.Version) })
	add("command", func(r *recording.Recording) string { return format.Command(r.Command) })
	add("scenario", ofLoad(func(l *recording.Load) string { return format.Clean(l.Scenario) }))
	add("connections", ofLoad(func(l *recording.Load) string { return format.Count(l.Established) }))
	add("a connection", ofConnection(connection.pageBytes))
	add("in the server", ofLoad(func(l *recording.Load) string {
		bytes, ok := userEach(l)
		if !ok {
			return ""
		}
		return format.Size(bytes)
	}))
	add("queued data", ofConnection(connection.bufferBytes))
	add("unexplained", func(r *recording.Recording) string {
		shares, _ := unexplainedShares(r)
		return strings.Join(shares, ", ")
	})
	add("events lost", func(r *recording.Recording) string { return format.Count(r.Lost()) })
	return list
}

// ofConnection writes a figure of a connection, of recordings that have any.
func ofConnection(value func(connection) float64) func(*recording.Recording) string {
	return func(r *recording.Recording) string {
		if c := connectionOf(r); c.opened {
			return format.Size(value(c))
		}
		return ""
	}
}

const oneMachine = "one"

// machines names those that took part.
func machines(r *recording.Recording) string {
	missing := r.Missing()
	switch {
	case missing != kernel.RoleUnknown:
		return other(missing).String() + " only"
	case len(r.Machines) == 1:
		return oneMachine
	case r.OneKernel():
		return "two on one kernel"
	}
	var names []string
	for _, m := range all(r) {
		names = append(names, m.label)
	}
	return strings.Join(names, ", ")
}

// diffWarnings are reasons not to trust a comparison.
func diffWarnings(older, newer *recording.Recording) []string {
	var warnings []string
	for _, side := range []struct {
		name string
		r    *recording.Recording
	}{{"old", older}, {"new", newer}} {
		if n := side.r.Lost(); n > 0 {
			warnings = append(warnings, fmt.Sprintf("the %s recording lost %s: see its own report", side.name,
				format.Plural(n, "event", "events")))
		}
		switch shares, warn := unexplainedShares(side.r); {
		case warn && len(shares) == 1:
			warnings = append(warnings, fmt.Sprintf("the %s recording leaves %s of slab growth unexplained", side.name, shares[0]))
		case warn:
			warnings = append(warnings, fmt.Sprintf("the %s recording leaves slab growth unexplained: %s", side.name,
				strings.Join(shares, ", ")))
		}
	}
	switch a, b := lookIn(older), lookIn(newer); {
	case (a == nil) != (b == nil):
		warnings = append(warnings, "one recording is of a run and the other of a host as it was: compare what an endpoint costs, "+
			"and not who has how many")
	case a != nil && (a.Record == nil) != (b.Record == nil):
		warnings = append(warnings, "one recording is a record and the other a snapshot: only the record knows who opened what")
	case a != nil && !slices.Equal(a.Look.Filter, b.Look.Filter):
		warnings = append(warnings, "the recordings are of different sockets: their filters differ")
	case a == nil && older.Scenario() != newer.Scenario():
		warnings = append(warnings, "the recordings are of different scenarios")
	}
	if said := lengthWarning(older, newer); said != "" {
		warnings = append(warnings, said)
	}
	if a, b := older.Machines, newer.Machines; lookIn(older) != nil && lookIn(newer) != nil && a[0].Host.Boot != b[0].Host.Boot {
		warnings = append(warnings, "the recordings are of different hosts, or of one that was started anew in between")
	}
	return warnings
}
