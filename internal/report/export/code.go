package export

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/google/pprof/profile"

	"github.com/connprof/connprof/internal/report"
)

// codeBuilder makes a profile of the code of programs. Each mapping, function and location is in it once.
type codeBuilder struct {
	profile   *profile.Profile
	mappings  map[profile.Mapping]*profile.Mapping // by all but their ID
	functions map[[2]string]*profile.Function
	locations map[string]*profile.Location
}

// writeCode writes a sample for each opener. A difference is the newer less the older.
func writeCode(w io.Writer, r *report.Report, samples []*report.CodeSample, diff bool) error {
	b := newCodeBuilder(r)
	for _, s := range samples {
		values := []int64{int64(s.Live - s.OldLive), toInt64(s.Bytes) - toInt64(s.OldBytes), int64(s.Opened - s.OldOpened), int64(s.Failed - s.OldBad)}
		if values[0] == 0 && values[1] == 0 && values[2] == 0 && values[3] == 0 {
			continue
		}
		b.profile.Sample = append(b.profile.Sample, &profile.Sample{Location: b.stack(s), Value: values, Label: codeLabels(s, diff)})
	}
	// pprof takes the first mapping for the program: that is to be a file.
	slices.SortStableFunc(b.profile.Mapping, func(x, y *profile.Mapping) int { return cmp.Compare(btoi(noFile(x)), btoi(noFile(y))) })
	return (&pprofBuilder{profile: b.profile}).write(w)
}

// noFile tells whether a mapping is none of a file: [unknown], [jit], [vdso].
func noFile(m *profile.Mapping) bool { return strings.HasPrefix(m.File, "[") }

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func newCodeBuilder(r *report.Report) *codeBuilder {
	p := &profile.Profile{
		SampleType: []*profile.ValueType{{Type: "inuse_connections", Unit: "count"}, {Type: "inuse_space", Unit: "bytes"},
			{Type: "alloc_connections", Unit: "count"}, {Type: "failed_connections", Unit: "count"}},
		DefaultSampleType: "inuse_space",
		Comments:          []string{"connprof: TCP connections by the code that opened them, Linux " + r.Kernels},
	}
	if r.Record != nil && r.Record.Seconds > 0 && r.Record.Seconds < 1e9 {
		p.DurationNanos = int64(r.Record.Seconds * 1e9)
	}
	if !r.Recording.Created.IsZero() {
		p.TimeNanos = r.Recording.Created.UnixNano()
	}
	return &codeBuilder{p, map[profile.Mapping]*profile.Mapping{}, map[[2]string]*profile.Function{}, map[string]*profile.Location{}}
}

// codeLabels are what go tool pprof can focus on. Of a difference processes have no numbers.
func codeLabels(s *report.CodeSample, diff bool) map[string][]string {
	all := map[string][]string{}
	for name, value := range map[string]string{"comm": s.Comm, "role": s.Role, "kind": s.Kind, "container": s.Container, "listener": s.Listener,
		"service": s.Service} {
		if value != "" {
			all[name] = []string{value}
		}
	}
	for _, pid := range s.PIDs {
		if !diff {
			all["pid"] = append(all["pid"], strconv.Itoa(pid))
		}
	}
	return all
}

// stack is a sample's locations, the deepest first. Functions that were inlined are lines of the location that they are in.
func (b *codeBuilder) stack(s *report.CodeSample) []*profile.Location {
	if len(s.Frames) == 0 {
		return []*profile.Location{b.location([]report.Frame{{Name: "[" + s.Words + "]"}})}
	}
	var list []*profile.Location
	for end := len(s.Frames); end > 0; {
		begin := end - 1
		for begin > 0 && s.Frames[begin].Inlined && s.Frames[begin-1].Address == s.Frames[end-1].Address && s.Frames[begin-1].Module == s.Frames[end-1].Module {
			begin--
		}
		list = append(list, b.location(s.Frames[begin:end]))
		end = begin
	}
	return list
}

// location is that of frames at one address, root first.
func (b *codeBuilder) location(frames []report.Frame) *profile.Location {
	outer := &frames[0]
	l := &profile.Location{Mapping: b.mapping(outer), Address: runtimeAddress(outer)}
	key := fmt.Sprintf("%d %#x", l.Mapping.ID, l.Address)
	for i := range frames {
		f := &frames[len(frames)-1-i] // the innermost first
		if f.Function == "" && f.Module != "" {
			continue // pprof symbolises what has no line
		}
		line := profile.Line{Function: b.function(f), Line: int64(max(f.Line, 0))}
		l.Line = append(l.Line, line)
		key += fmt.Sprintf(" %d:%d", line.Function.ID, line.Line)
	}
	if known := b.locations[key]; known != nil {
		return known
	}
	if l.Mapping.HasFunctions = l.Mapping.HasFunctions || len(l.Line) > 0; len(l.Line) > 1 {
		l.Mapping.HasInlineFrames = true
	}
	for _, line := range l.Line {
		l.Mapping.HasFilenames = l.Mapping.HasFilenames || line.Function.Filename != ""
		l.Mapping.HasLineNumbers = l.Mapping.HasLineNumbers || line.Line > 0
	}
	l.ID = uint64(len(b.locations) + 1)
	b.locations[key] = l
	b.profile.Location = append(b.profile.Location, l)
	return l
}

// runtimeAddress is where the code was in the process, as the format wants it. Recordings have the file's own addresses; of most files
// these are the offsets in them.
func runtimeAddress(f *report.Frame) uint64 {
	if f.Address >= f.Start && f.Address < f.Limit {
		return f.Address // the file is mapped where it says, or the code was generated
	}
	at := f.Start + (f.Address - f.Offset)
	if f.Limit == 0 || f.Address < f.Offset || at < f.Start || at >= f.Limit {
		return f.Address
	}
	return at
}

func (b *codeBuilder) mapping(f *report.Frame) *profile.Mapping {
	m := profile.Mapping{Start: f.Start, Limit: f.Limit, Offset: f.Offset, File: f.Module, BuildID: f.BuildID}
	if m.File == "" {
		m = profile.Mapping{File: "[unknown]", HasFunctions: true}
	}
	if m.Limit < m.Start {
		m.Start, m.Limit = 0, 0
	}
	if known := b.mappings[m]; known != nil {
		return known
	}
	made := m
	made.ID = uint64(len(b.mappings) + 1)
	b.mappings[m] = &made
	b.profile.Mapping = append(b.profile.Mapping, &made)
	return &made
}

func (b *codeBuilder) function(f *report.Frame) *profile.Function {
	key := [2]string{f.Name, f.File}
	if known := b.functions[key]; known != nil {
		return known
	}
	made := &profile.Function{ID: uint64(len(b.functions) + 1), Name: f.Name, SystemName: f.Name, Filename: f.File}
	b.functions[key] = made
	b.profile.Function = append(b.profile.Function, made)
	return made
}
