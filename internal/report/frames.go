package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Frame is a place in the code of a program. All text in it is safe to print.
type Frame struct {
	Name string // as the recording has it: function, or module and offset
	recording.Location
}

// Short is the function without what makes its name long: a Go package's path, parameters, template arguments.
func (f *Frame) Short() string { return shortFunction(f.Name) }

// At is file:line without the directory, empty where it is not known.
func (f *Frame) At() string {
	if f.File == "" {
		return ""
	}
	return f.File[strings.LastIndexAny(f.File, `/\`)+1:] + f.line()
}

// Place is file:line, empty where it is not known.
func (f *Frame) Place() string {
	if f.File == "" {
		return ""
	}
	return f.File + f.line()
}

func (f *Frame) line() string {
	if f.Line <= 0 {
		return ""
	}
	return ":" + strconv.Itoa(f.Line)
}

// String is the short function with its place.
func (f *Frame) String() string {
	if at := f.At(); at != "" {
		return f.Short() + " " + at
	}
	return f.Short()
}

// framesOf are an opener's frames, root first. What does not refer to a location has a name only.
func framesOf(m *recording.Machine, o *recording.Opener) []Frame {
	list := make([]Frame, max(len(o.Frames), len(o.Locations)))
	for i := range list {
		f := &list[i]
		if i < len(o.Frames) {
			f.Name = format.Clean(o.Frames[i])
		}
		if len(o.Locations) == len(list) && o.Locations[i] >= 0 && o.Locations[i] < len(m.Locations) {
			f.Location = m.Locations[o.Locations[i]]
		}
		f.clean()
	}
	return list
}

// clean gives a frame without a name that of its module.
func (f *Frame) clean() {
	f.Function, f.File, f.Module = format.Clean(f.Function), format.Clean(f.File), format.Clean(f.Module)
	switch {
	case f.Name != "":
	case f.Function != "":
		f.Name = f.Function
	case f.Module != "":
		f.Name = fmt.Sprintf("%s+%#x", f.Module[strings.LastIndexByte(f.Module, '/')+1:], f.Address)
	default:
		f.Name = "[unknown]"
	}
}

// named tells whether a frame has a function: recordings without locations have it in the name.
func (f *Frame) named() bool {
	return f.Function != "" || f.Module == "" && !strings.HasPrefix(f.Name, "[") && !strings.Contains(f.Name, "+0x")
}

// matter is the frames that a reader wants to see, the deepest first: those nearest to connect() that no rule passes over.
func matter(frames []Frame, most int) []Frame {
	var list []Frame
	for i := len(frames) - 1; i >= 0 && len(list) < most; i-- {
		if f := &frames[i]; f.named() && passes(functionName(f.Name), f.Module) {
			list = append(list, *f)
		}
	}
	// That main() is in it says nothing: what is below it is an event loop's, of a program that is little else.
	if len(list) == 0 || list[0].Name == "main" {
		if f := deepest(frames); f != nil && f.Name != "main" {
			list = append([]Frame{*f}, list...)
		}
	}
	return list
}

// deepest is the frame nearest to connect() that has a name and is not the C library's; else the deepest with a name; else the deepest.
func deepest(frames []Frame) *Frame {
	for _, takes := range []func(*Frame) bool{
		func(f *Frame) bool { return f.named() && !FrameRules[0].names(functionName(f.Name), f.Module) },
		(*Frame).named,
		func(*Frame) bool { return true },
	} {
		for i := range slices.Backward(frames) {
			if takes(&frames[i]) {
				return &frames[i]
			}
		}
	}
	return nil
}

// functionName is a name without the return type that C++ and Java put before it.
func functionName(name string) string {
	end := strings.IndexByte(name, '(')
	if end <= 0 || strings.HasPrefix(name, "py::") || strings.Contains(name[:end], "operator") || strings.Contains(name, ".js:") {
		return name
	}
	depth := 0
	for i := end - 1; i >= 0; i-- {
		switch name[i] {
		case '>':
			depth++
		case '<':
			depth--
		case ' ':
			if depth == 0 {
				return name[i+1:]
			}
		}
	}
	return name
}

// shortFunction cuts a name down to what one says: pool.(*Pool).dial for github.com/acme/pool.(*Pool).dial, Pool::dial for
// Pool::dial(std::string const&).
func shortFunction(name string) string {
	if path, file, found := strings.Cut(strings.TrimPrefix(name, "py::"), ":"); found && strings.HasPrefix(name, "py::") {
		return path + " " + file[strings.LastIndexByte(file, '/')+1:]
	}
	if function, place, found := cutLast(name, " "); found && strings.Contains(place, ".js:") { // as V8 names it: JS:*open /srv/app.js:12:3
		return strings.TrimLeft(function[strings.LastIndexByte(function, ':')+1:], "~*^+") + " " + place[strings.LastIndexByte(place, '/')+1:]
	}
	s := functionName(name)
	end := len(s)
	if at := strings.IndexAny(s, "([<"); at >= 0 {
		end = at
	}
	if !strings.Contains(s[:end], "::") {
		s = s[strings.LastIndexByte(s[:end], '/')+1:]
	}
	if at := strings.IndexByte(s, '('); at > 0 && s[at-1] != '.' {
		s = s[:at]
	}
	return withoutArguments(s)
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, sep string) (before, after string, found bool) {
	at := strings.LastIndex(s, sep)
	if at < 0 {
		return s, "", false
	}
	return s[:at], s[at+len(sep):], true
}

// withoutArguments leaves out what stands in < > and, of Go's generics, in [ ].
func withoutArguments(s string) string {
	if strings.HasPrefix(s, "<") || strings.HasPrefix(s, "[") || !strings.ContainsAny(s, "<[") || strings.Contains(s, "operator") {
		return s
	}
	var b strings.Builder
	depth := 0
	for _, r := range s {
		switch {
		case r == '<' || r == '[':
			depth++
		case (r == '>' || r == ']') && depth > 0:
			depth--
		case depth == 0:
			b.WriteRune(r)
		}
	}
	return b.String()
}
