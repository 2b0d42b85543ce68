package limits

import (
	"fmt"
	"sort"

	"github.com/connprof/connprof/internal/kernel"
)

// Verdict is what a limit means for the connections asked for.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	TooLow  Verdict = "too low" // fewer connections than asked for
	Warns   Verdict = "warns"   // slows or disturbs, and stops none
	Unknown Verdict = "unknown" // not readable; Row.Note says why
)

// Row is one limit, judged.
type Row struct {
	Limit string // its name in the report
	Where string // where it is set: a sysctl, a resource limit, a file
	Unit  string // "bytes", or empty for a count
	Now   uint64 // NoLimit for none
	Used  uint64 // of it, by everybody
	Need  uint64 // what Now has to be for the demand, 0 for nothing
	// Holds is how many connections the limit allows in each role, NoLimit for any number. It is nil for a limit that
	// stops none, or is not known.
	Holds       map[kernel.Role]uint64
	Verdict     Verdict
	Consequence string // what happens at the limit, with the kernel's error
	Note        string
	Fix         string // the command that raises it
	Manual      string // why --fix does not, where it does not
	BindsRun    bool   // connprof run is bound by it as well

	sysctl, value string // what --fix would set
}

// Amount is a figure of the row, in its unit.
func (r *Row) Amount(n uint64) string { return amount(n, r.Unit) }

// Capacity is how many connections the host holds in one role.
type Capacity struct {
	Role  kernel.Role
	Conns uint64 // NoLimit if nothing known binds
	// First is the limit that binds first and Next the one after it, empty for none; NextConns is what Next allows.
	First, Next string
	NextConns   uint64
}

// Readings are all limits as they were at one moment. What connections take up after that is not in them: a demand that is held
// against them again counts nothing twice.
type Readings struct {
	host Host
	all  []reading // in the order of the table
}

type reading struct {
	Reading
	err error
}

// Read reads every limit of the host.
func Read(h Host) Readings {
	r := Readings{host: h}
	for i := range limits {
		now, err := limits[i].read(h)
		r.all = append(r.all, reading{now, err})
	}
	return r
}

// Judge holds every limit against the demand.
func (r Readings) Judge(d Demand) []Row {
	rows := make([]Row, len(limits))
	for i := range limits {
		rows[i] = limits[i].judge(r.host, r.all[i], d)
	}
	return rows
}

// Judge reads every limit of the host and holds it against the demand.
func Judge(h Host, d Demand) []Row { return Read(h).Judge(d) }

// Fits tells whether no limit is too low.
func Fits(rows []Row) bool {
	for _, r := range rows {
		if r.Verdict == TooLow {
			return false
		}
	}
	return true
}

func (l *limit) judge(h Host, now reading, d Demand) Row {
	row := Row{Limit: l.name, Where: l.where, Unit: l.unit, Verdict: OK, Consequence: l.consequence, BindsRun: l.run}
	if d.QueuedBytes > 0 && l.carrying != "" {
		row.Consequence = l.carrying
	}
	if now.err != nil {
		row.Verdict, row.Note = Unknown, now.err.Error()
		return row
	}
	r := now.Reading
	if r.Where != "" {
		row.Where = r.Where
	}
	row.Now, row.Used, row.Note = r.Now, r.Used, r.Note
	if r.Idle {
		return row
	}
	row.Need = l.need(d, r)
	if l.binds(d) {
		row.Holds = l.holds(d, r)
	}
	if row.Need <= row.Now {
		return row
	}
	row.Verdict = Warns
	if l.binds(d) {
		row.Verdict = TooLow
	}
	l.advise(h, d, r, &row)
	return row
}

// binds tells whether connections end at the limit.
func (l *limit) binds(d Demand) bool {
	return l.effect == stops || l.effect == threaded && d.ThreadEach || l.effect == queues && d.QueuedBytes > 0
}

// maxConns is beyond what any flag can ask for.
const maxConns = 1 << 32

// holds finds the most connections whose need is met. The need never falls as they become more.
func (l *limit) holds(d Demand, r Reading) map[kernel.Role]uint64 {
	holds := map[kernel.Role]uint64{}
	for _, role := range Roles {
		d.Role = role
		met := func(n uint64) bool { d.Conns = n; return l.need(d, r) <= r.Now }
		holds[role] = NoLimit
		if !met(maxConns) {
			holds[role] = uint64(sort.Search(maxConns, func(n int) bool { return !met(uint64(n) + 1) }))
		}
	}
	return holds
}

// advise says how the limit is raised, and by whom.
func (l *limit) advise(h Host, d Demand, r Reading, row *Row) {
	row.Manual = l.manual
	if l.sysctl == "" {
		row.Fix = l.command(d, r, row.Need)
		return
	}
	value, err := l.raised(h, row.Need)
	if err != nil {
		row.Manual = err.Error()
		if l.command != nil {
			row.Fix = l.command(d, r, row.Need)
		}
		return
	}
	row.Manual, row.sysctl, row.value = "", l.sysctl, value
	row.Fix = "sysctl -w " + assignment(l.sysctl, value)
}

// raised is the value that --fix would give the sysctl.
func (l *limit) raised(h Host, need uint64) (string, error) {
	if l.ceiling > 0 && need > l.ceiling {
		return "", fmt.Errorf("the kernel takes no more than %d", l.ceiling)
	}
	if l.value != nil {
		return l.value(h, need)
	}
	value := need + l.slack
	if l.ceiling > 0 {
		value = min(value, l.ceiling)
	}
	return fmt.Sprint(value), nil
}

// assignment is name=value as a shell takes it.
func assignment(name, value string) string {
	for _, r := range value {
		if r == ' ' {
			return name + "='" + value + "'"
		}
	}
	return name + "=" + value
}

// Capacities is how many connections the host holds in each role, by the limits that are known.
func Capacities(rows []Row) []Capacity {
	var list []Capacity
	for _, role := range Roles {
		c := Capacity{Role: role, Conns: NoLimit, NextConns: NoLimit}
		for _, r := range rows {
			holds, ok := r.Holds[role]
			switch {
			case !ok || holds >= NoLimit:
			// Of two that allow the same the later one is the cause: the hard limit after the soft one.
			case holds <= c.Conns:
				c.Next, c.NextConns = c.First, c.Conns
				c.First, c.Conns = r.Limit, holds
			case holds < c.NextConns:
				c.Next, c.NextConns = r.Limit, holds
			}
		}
		list = append(list, c)
	}
	return list
}
