package report

import (
	"fmt"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// tenths is how many parts the time of a record is divided into.
const tenths = 10

// grew tells whether more was open at the end of each tenth than at the end of the one before. A pool that has filled up once
// stays as it is, and has not.
func grew(o *recording.Opener) bool {
	switch o.Kind {
	case recording.OpenerBefore, recording.OpenerUnseen, recording.OpenerOther:
		return false
	}
	before := 0
	for _, n := range o.Tenths {
		if n <= before {
			return false
		}
		before = n
	}
	return len(o.Tenths) == tenths
}

// growAdvices say what to do about a path whose open sockets grow, by the state that most of them are in.
var growAdvices = []struct{ state, advice string }{
	{"CLOSE_WAIT", "The peers have closed and {name} has not. Look for a path behind it that returns without close()."},
	{"SYN_SENT", "The peers do not answer: packets are dropped on the way, or the backlog there is full. Set a timeout for connect()."},
	{"FIN_WAIT2", "{name} has closed and the peers have not. Look at what they do when their input ends."},
	{"", "Watch longer: a cache or a pool that is still filling grows as well, and stops. Then look at {name} for a path that returns without close(), " +
		"and for a limit that is missing."},
}

// grows are the paths whose open sockets have grown all the time, as they were observed.
func grows(m *recording.Machine, rows []OpenerRow) []Finding {
	var list []Finding
	for i := range rows {
		if r := &rows[i]; grew(r.from) {
			list = append(list, Finding{Rule: "grows", Sentence: growSentence(m, r), Advice: growAdvice(r)})
		}
	}
	if rest := len(list) - maxFindings; rest > 0 {
		list = append(list[:maxFindings], Finding{Rule: "grows", Sentence: "the same of " + format.Plural(rest, "other path", "other paths")})
	}
	return list
}

func growSentence(m *recording.Machine, r *OpenerRow) string {
	steps := make([]string, 0, tenths)
	before := 0
	for _, n := range r.from.Tenths {
		steps = append(steps, format.Signed(int64(n)-int64(before)))
		before = n
	}
	said := []string{fmt.Sprintf("%s still open (%s)", format.Count(r.Live), format.Size(r.All()))}
	if r.Idle != nil {
		said = append(said, "idle p50 "+format.Span(r.Idle.P50))
	}
	for _, s := range r.from.States[:min(len(r.from.States), 3)] {
		said = append(said, format.Clean(s.State)+" "+format.Count(s.Count))
	}
	return fmt.Sprintf("%s: %s grew in each tenth of %s: %s; %s", r.Who, r.Path(), howLong(m.Record.Seconds),
		strings.Join(steps, " "), strings.Join(said, ", "))
}

// growAdvice goes by the state that more than half of the open sockets are in.
func growAdvice(r *OpenerRow) string {
	name := r.from.Comm
	if name == "" {
		name = "the process"
	}
	for _, a := range growAdvices {
		if a.state == "" || mostlyIn(r.from, a.state) {
			return strings.ReplaceAll(a.advice, "{name}", format.Clean(name))
		}
	}
	return ""
}

func mostlyIn(o *recording.Opener, state string) bool {
	for _, s := range o.States {
		if s.State == state {
			return s.Count > o.Live/2
		}
	}
	return false
}
