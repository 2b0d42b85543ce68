package symbolise

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// deep builds the program that waits at the end of a known path.
func deep(t testing.TB, flags ...string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "deep")
	build(t, "testdata/deep", append(append([]string{"go", "build", "-o", program}, flags...), "main.go")...)
	return program
}

// inDeep are the functions of its path below the system call.
func inDeep(depth int, goroutine bool) []string {
	names := []string{"syscall.read", "syscall.Read", "main.(*pipe).readAll", "main.(*pipe).read"}
	names = append(names, slices.Repeat([]string{"main.(*pipe).wait"}, depth+1)...)
	names = append(names, "main.outer")
	if goroutine {
		return append(names, "main.main.func1", "runtime.goexit")
	}
	return append(names, "main.main", "runtime.main", "runtime.goexit")
}

func TestAGoProgramIsUnwoundWholeWithInlinedFunctions(t *testing.T) {
	for name, flags := range map[string][]string{
		"plain": nil, "stripped": {"-ldflags=-s -w"}, "pie": {"-buildmode=pie"}, "stripped pie": {"-buildmode=pie", "-ldflags=-s -w"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := deep(t, flags...)
			for _, args := range [][]string{{"3"}, {"2", "goroutine"}} {
				pid := run(t, program, args...)
				p, _, path := unwound(t, pid, waitFor(t, pid, unix.SYS_READ, 0))
				frames := p.Frames(path.Addresses)
				names := functions(frames)
				at := slices.Index(names, "syscall.read")
				want := inDeep(int(args[0][0]-'0'), len(args) > 1)
				if path.End != Bottom || at < 1 || !slices.Equal(names[at:], want) {
					t.Fatalf("%v: %v%s\nwant %s", args, path.End, show(frames), strings.Join(want, " "))
				}
				checkPlaces(t, frames[at:])
			}
		})
	}
}

// checkPlaces holds lines against the source.
func checkPlaces(t *testing.T, frames []Frame) {
	t.Helper()
	source, err := filepath.Abs("testdata/deep/main.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	calls := map[string]string{"main.(*pipe).readAll": "syscall.Read(", "main.(*pipe).read": "p.readAll(", "main.outer": "w.wait("}
	for _, f := range frames {
		if call := calls[f.Function]; call != "" && (f.File != source || !strings.Contains(lines[f.Line-1], call)) {
			t.Errorf("%s, want the line of %s that has %s", f, source, call)
		}
		if f.Inlined != (f.Function == "main.(*pipe).readAll" || f.Function == "syscall.Read") {
			t.Errorf("%s is inlined: %v", f, f.Inlined)
		}
		if f.Module != "deep" || f.BuildID == "" || f.Source != FromPclntab {
			t.Errorf("%+v", f)
		}
	}
}
