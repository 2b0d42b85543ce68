package report

import (
	"fmt"
	"sort"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// TopLine is one of the costliest endpoints.
type TopLine struct {
	Role, State, Local, Remote, PID, Objects, ObjectBytes, PageBytes, BufferBytes string
}

func topOf(r *recording.Recording) []TopLine {
	var lines []TopLine
	for _, e := range r.Top() {
		lines = append(lines, newTopLine(e))
	}
	return lines
}

func newTopLine(e *recording.TopEndpoint) TopLine {
	v := TopLine{Role: e.Role.String(), State: format.Clean(e.State), Local: format.Clean(e.Local), Remote: format.Clean(e.Remote),
		PID: format.None, ObjectBytes: format.Count(e.ObjectBytes), PageBytes: format.Count(e.PageBytes),
		BufferBytes: format.Count(e.BufferBytes)}
	if e.PID > 0 {
		v.PID = fmt.Sprint(e.PID)
	}
	types := make([]string, 0, len(e.Objects))
	for name := range e.Objects {
		types = append(types, name)
	}
	sort.Strings(types)
	for i, name := range types {
		if i > 0 {
			v.Objects += ", "
		}
		v.Objects += format.Clean(name)
		if n := e.Objects[name]; n != 1 {
			v.Objects += " × " + format.Count(n)
		}
	}
	return v
}
