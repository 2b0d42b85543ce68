package report

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// OwnServer is what a program of the user's took that was the accepting end, beside slab memory.
type OwnServer struct {
	Aside string
	Facts []Fact // none where the run had no such server
	Lines []UseLine
}

// UseLine is one figure of the server's: when all was up, by how much more that is than before the first connection, and a
// connection's part of the growth.
type UseLine struct {
	What, Now, Growth, Each string
	Sum                     bool
}

// mostFailed is the part of the connections that may have failed where what the server takes is divided by those that are up.
const mostFailed = 0.1

// userEach is what the server takes in user space for each connection, in bytes; ok is false without such a server, and where it had
// more than those that are up.
func userEach(l *recording.Load) (bytes float64, ok bool) {
	if l == nil || l.Server == nil || l.Established <= 0 || l.Server.Ended != "" || float64(l.Failed) > mostFailed*float64(l.Established) {
		return 0, false
	}
	return float64(l.Server.Growth.PSSBytes) / float64(l.Established), true
}

func ownServerOf(r *recording.Recording) OwnServer {
	l := r.Load()
	if l == nil || l.Server == nil {
		return OwnServer{}
	}
	s := l.Server
	return OwnServer{Aside: strings.TrimSpace(format.Clean(s.Address) + endedText(s)), Facts: serverFacts(l), Lines: useLines(s, l.Established)}
}

func endedText(s *recording.Server) string {
	if s.Ended == "" {
		return ""
	}
	return " · ended: " + format.Clean(s.Ended)
}

func serverFacts(l *recording.Load) []Fact {
	s := l.Server
	facts := []Fact{{Key: "server", Value: format.Command(s.Command), Warn: s.Ended != ""},
		{Key: "accept queue", Value: "up to " + format.Plural(s.Backlog, "connection", "connections")}}
	cpu := format.Seconds(s.CPUSeconds) + " until all were up"
	if l.Established > 0 {
		cpu += fmt.Sprintf(", %s µs a connection", format.Decimal(s.CPUSeconds/float64(l.Established)*1e6))
	}
	facts = append(facts, Fact{Key: "CPU time", Value: cpu})
	return append(facts, exchangeFacts(l.Exchange)...)
}

// exchangeFacts say what was said on each connection.
func exchangeFacts(x *recording.Exchange) []Fact {
	if x == nil {
		return nil
	}
	var parts []string
	if x.SentBytes > 0 {
		parts = append(parts, strings.TrimSpace("the client sends "+format.Plural(x.SentBytes, "byte", "bytes")+" "+format.Clean(x.Sent)))
	}
	switch {
	case x.Expected != "":
		parts = append(parts, "an answer that matches "+format.Clean(x.Expected)+" has come")
	case x.ExpectedBytes > 0:
		parts = append(parts, format.Plural(x.ExpectedBytes, "byte has", "bytes have")+" come")
	}
	facts := []Fact{{Key: "on each", Value: strings.Join(parts, " · ")}}
	if x.OtherAnswer != "" {
		facts = append(facts, Fact{"other answer", "the first began " + strconv.Quote(x.OtherAnswer), true})
	}
	if x.EverySeconds > 0 {
		facts = append(facts, Fact{"again", fmt.Sprintf("every %s on each · %s asked, %s answered, %s not before their next turn",
			format.Seconds(x.EverySeconds), format.Count(x.Asked), format.Count(x.Answered), format.Count(x.Unanswered)), x.Unanswered > 0})
	}
	return facts
}

// useLines are none where the server had ended: what it took had gone with it.
func useLines(s *recording.Server, up int) []UseLine {
	if s.Ended != "" {
		return nil
	}
	now, more := s.Memory, s.Growth
	size := func(what string, is, grown int64, sum bool) UseLine {
		line := UseLine{What: what, Now: format.Size(float64(is)), Growth: format.SignedSize(float64(grown)), Sum: sum}
		if up > 0 {
			line.Each = format.Decimal(float64(grown)/float64(up)) + " B"
		}
		return line
	}
	count := func(what string, is, grown int) UseLine {
		line := UseLine{What: what, Now: format.Count(is), Growth: format.Count(grown)}
		if up > 0 {
			line.Each = fmt.Sprintf("%.2f", float64(grown)/float64(up))
		}
		return line
	}
	return []UseLine{
		size("user space (PSS)", now.PSSBytes, more.PSSBytes, true),
		size("  anonymous: heap, stacks", now.AnonymousBytes, more.AnonymousBytes, false),
		size("  resident (RSS)", now.RSSBytes, more.RSSBytes, false),
		size("page tables", now.PageTableBytes, more.PageTableBytes, false),
		size("kernel stacks", now.KernelStackBytes, more.KernelStackBytes, false),
		count("threads", now.Threads, more.Threads),
		count("processes", now.Processes, more.Processes),
	}
}
