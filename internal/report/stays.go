package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Stays is what slab memory still holds once the connections are closed.
type Stays struct {
	Verdict string // empty where nobody asked
	Warn    bool
	Facts   []Fact
	Moments []StayMoment
	Heads   []string // a name for each moment
	Caches  []StayLine
	Rest    string // what is left out of Caches, empty for nothing
}

// StayMoment is one look after the close.
type StayMoment struct {
	After            string
	TimeWait, Others string // sockets of the run that are still there
	InSockets        string // bytes of their objects
	Slab, Error      string // growth of the whole host's slab memory, and by how much that changes by itself
}

// StayLine is one cache.
type StayLine struct {
	Cache, Types string
	Left         []string // objects at each moment
	Error        string   // at the last
	Each, Bytes  string   // at the last: objects a closed connection, and bytes of all
	Warn         bool
}

func staysOf(r *recording.Recording) Stays {
	for _, m := range r.Machines {
		if s := m.Stays; s != nil && len(s.Moments) > 0 {
			return newStays(s)
		}
	}
	return Stays{}
}

func newStays(s *recording.Stays) Stays {
	view := Stays{Facts: stayFacts(s)}
	view.Verdict, view.Warn = stayVerdict(s)
	var all, settled []int
	for i := range s.Moments {
		all = append(all, i)
		if !s.Moments[i].AtOnce {
			settled = append(settled, i)
		}
		view.Heads = append(view.Heads, momentName(&s.Moments[i]))
		view.Moments = append(view.Moments, newStayMoment(s, i))
	}
	view.Caches, view.Rest = stayLines(s.Caches, all, settled, s.Closed)
	return view
}

// momentName is the time since the last close. The look before RCU is done is right after it.
func momentName(m *recording.StayMoment) string {
	name := format.Seconds(m.Seconds)
	if m.Seconds < 1 && !m.AfterRCU {
		return "at once"
	}
	return name
}

func newStayMoment(s *recording.Stays, i int) StayMoment {
	m := &s.Moments[i]
	bytes := 0.0
	for _, c := range s.Caches {
		if i < len(c.InSockets) {
			bytes += float64(c.InSockets[i]) * float64(c.ObjectBytes)
		}
	}
	after := momentName(m)
	if !m.AfterRCU {
		after += ", before RCU"
	}
	return StayMoment{After: after, TimeWait: format.Count(m.TimeWait), Others: format.Minus(format.Count(m.Others)),
		InSockets: format.Size(max(bytes, 0)), Slab: format.SignedSize(float64(m.SlabBytes)), Error: "± " + format.Size(float64(m.ErrorBytes))}
}

// stayLines are the caches of endpoints, and others that have kept an object for a hundred connections at a moment
// at which their counts were settled.
func stayLines(caches []recording.StayCache, moments, settled []int, closed int) (lines []StayLine, rest string) {
	left := 0
	for i := range caches {
		c := &caches[i]
		if len(c.Types) == 0 && !slices.ContainsFunc(settled, func(m int) bool { return c.StayEach(m, closed) > 0 }) {
			left++
			continue
		}
		lines = append(lines, newStayLine(c, moments, closed))
	}
	if left > 0 {
		rest = "and " + format.Plural(left, "cache", "caches") + " with more objects than the error, and less than one for a hundred connections"
	}
	return lines, rest
}

// newStayLine is one cache at the chosen moments, of which the last counts.
func newStayLine(c *recording.StayCache, moments []int, closed int) StayLine {
	last := moments[len(moments)-1]
	line := StayLine{Cache: c.Cache, Types: strings.Join(c.Types, ", "), Warn: c.StayEach(last, closed) > 0}
	for _, i := range moments {
		line.Left = append(line.Left, signedAt(c.Left, i))
	}
	if last < len(c.Errors) && last < len(c.Left) {
		line.Error = "±" + format.Count(c.Errors[last])
		line.Each = eachClosed(c.Left[last], closed)
		line.Bytes = format.SignedSize(float64(c.Left[last]) * float64(c.ObjectBytes))
	}
	return line
}

// signedAt is one of a list that may be too short, in a recording that somebody else has written.
func signedAt(list []int64, i int) string {
	if i >= len(list) {
		return format.None
	}
	return format.Signed(list[i])
}

// eachClosed is a number of objects for each connection that was closed.
func eachClosed(objects int64, closed int) string {
	if closed <= 0 {
		return format.None
	}
	const hundred = 100
	return hundredths(math.Round(hundred*float64(objects)/float64(closed))/hundred + 0) // no negative zero
}

func stayFacts(s *recording.Stays) []Fact {
	facts := []Fact{
		{Key: "closed", Value: fmt.Sprintf("%s, the client's end first, in %s", format.Plural(s.Closed, "connection", "connections"),
			format.Seconds(s.CloseSeconds))},
		{Key: "error", Value: fmt.Sprintf("the widest range in %s of %s without connections, before the first",
			format.Plural(s.Idle.Readings, "reading", "readings"), format.Seconds(s.Idle.Seconds)), Warn: s.Idle.Readings < 2},
	}
	if m := s.Moments[len(s.Moments)-1]; m.TimeWait+m.Others > 0 {
		facts = append(facts, Fact{Key: "sockets", Value: fmt.Sprintf("%s still in TIME_WAIT and %s in another state at the end: "+
			"their objects are left out below", format.Count(m.TimeWait), format.Count(m.Others))})
	}
	return facts
}

func stayVerdict(s *recording.Stays) (verdict string, warn bool) {
	last := len(s.Moments) - 1
	after := format.Seconds(s.Moments[last].Seconds) + " after the last close"
	names, count := stayNames(s.Caches, last, s.Closed)
	if count == 0 {
		return "Nothing stays: " + after + " no slab cache holds one object more for a hundred connections, beyond the error.", false
	}
	return fmt.Sprintf("Beyond the error, %s %s: %s.", after, format.Plural(count, "slab cache holds more objects than before",
		"slab caches hold more objects than before"), names), true
}

// namedStays is how many caches a verdict names.
const namedStays = 3

// stayNames names the caches that have kept objects, with how many for each connection, and counts them all.
func stayNames(caches []recording.StayCache, moment, closed int) (names string, count int) {
	var list []string
	for i := range caches {
		c := &caches[i]
		n := c.StayEach(moment, closed)
		if n == 0 {
			continue
		}
		if count++; count <= namedStays {
			list = append(list, fmt.Sprintf("%s %s (%s a connection)", c.Cache, format.Signed(n), eachClosed(n, closed)))
		}
	}
	if count > namedStays {
		list = append(list, format.Count(count-namedStays)+" more")
	}
	return strings.Join(list, ", "), count
}
