package symbolise

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"
)

func TestRunningKernelsSignalHandlersAreUnwound(t *testing.T) {
	for name, flags := range map[string][]string{"glibc": nil, "static": {"-static"}, "small": {"-Os"}} {
		t.Run(name, func(t *testing.T) {
			program := compile(t, "gcc", "signal.c", flags...)
			pid := run(t, program)
			p, _, path := unwound(t, pid, waitFor(t, pid, unix.SYS_READ, 0))
			frames := p.Frames(path.Addresses)
			names := functions(frames)
			at := slices.Index(names, "interrupted")
			if path.End != Bottom || at < 3 || names[1] != "handler" || names[at+1] != "main" {
				t.Errorf("%v%s", path.End, show(frames))
			}
			// What was interrupted is on a stack that was not copied.
			pid = run(t, program, "own stack")
			p, _, path = unwound(t, pid, waitFor(t, pid, unix.SYS_READ, 0))
			frames = p.Frames(path.Addresses)
			if path.End.Whole() || functions(frames)[1] != "handler" {
				t.Errorf("on a stack of its own: %v%s", path.End, show(frames))
			}
		})
	}
}

// Stripped programs with their symbols elsewhere: in a separate file that the build ID or a link finds, or compressed.
func TestRunningKernelsSymbolsOfStrippedProgramsAreFound(t *testing.T) {
	want := []string{"read", "innermost", "middle", "outermost", "main"}
	for _, kind := range []string{"not stripped", "compressed", "old compression", "build ID", "link", "mini", "nothing"} {
		t.Run(kind, func(t *testing.T) {
			flags := []string{"-g"}
			if kind == "compressed" {
				flags = append(flags, "-gz=zlib")
			}
			program := compile(t, "gcc", "inlined.c", flags...)
			debugDir := stripped(t, program, kind)
			pid := run(t, program)
			tid := waitFor(t, pid, unix.SYS_READ, 0)
			store := NewStore(Options{DebugDirs: []string{debugDir}})
			defer store.Close()
			p, err := store.Process(pid)
			if err != nil {
				t.Fatal(err)
			}
			path := p.Unwind(capture(t, pid, tid, copied))
			frames := p.Frames(path.Addresses)
			names := functions(frames)
			expected := want
			switch kind {
			case "mini":
				expected = []string{"read", "outermost", "main"}
			case "nothing":
				expected = []string{"read", "", ""}
			}
			if path.End != Bottom || len(names) < len(expected) || !slices.Equal(names[:len(expected)], expected) {
				t.Fatalf("%v%s", path.End, show(frames))
			}
			if len(expected) == len(want) {
				checkInlined(t, frames)
			}
		})
	}
}

func checkInlined(t *testing.T, frames []Frame) {
	t.Helper()
	text, err := os.ReadFile("testdata/inlined.c")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, call := range []string{"read(fd", "innermost(fd)", "middle(fd)", "outermost(0)"} {
		f := frames[i+1]
		if filepath.Base(f.File) != "inlined.c" || f.Line < 1 || !strings.Contains(lines[f.Line-1], call) || f.Inlined != (i < 2) {
			t.Errorf("%s, inlined %v, want the line that has %s", f, f.Inlined, call)
		}
	}
}

// stripped takes the symbols out of a program, and puts them where the kind says. It returns where debug files are.
func stripped(t *testing.T, program, kind string) string {
	t.Helper()
	dir := filepath.Dir(program)
	debug := filepath.Join(dir, "chain.debug")
	debugDir := filepath.Join(dir, "debug")
	switch kind {
	case "not stripped", "compressed":
		return debugDir
	case "old compression":
		build(t, dir, "objcopy", "--compress-debug-sections=zlib-gnu", program)
		return debugDir
	}
	build(t, dir, "objcopy", "--only-keep-debug", program, debug)
	if kind == "mini" {
		build(t, dir, "objcopy", "--strip-debug", debug)
	}
	build(t, dir, "strip", program)
	switch kind {
	case "mini":
		pack(t, debug)
		build(t, dir, "objcopy", "--add-section", ".gnu_debugdata="+debug+".xz", program)
	case "link":
		build(t, dir, "objcopy", "--add-gnu-debuglink="+debug, program)
	case "build ID":
		f, err := os.Open(program)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		im, err := openImage(f, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		id := im.buildID()
		to := filepath.Join(debugDir, ".build-id", id[:2], id[2:]+".debug")
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(debug, to); err != nil {
			t.Fatal(err)
		}
	}
	return debugDir
}

func pack(t *testing.T, name string) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name+".xz", out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Go programs that are linked with C have other sections first.
func TestRunningKernelsGoLinkedWithCIsUnwoundWhole(t *testing.T) {
	t.Setenv("CGO_ENABLED", "1")
	for name, flags := range map[string][]string{
		"external":              {"-ldflags=-linkmode=external"},
		"external and stripped": {"-ldflags=-linkmode=external -s -w"},
		"external PIE":          {"-buildmode=pie", "-ldflags=-linkmode=external -s -w"},
	} {
		t.Run(name, func(t *testing.T) {
			pid := run(t, deep(t, flags...), "3")
			p, _, path := unwound(t, pid, waitFor(t, pid, unix.SYS_READ, 0))
			frames := p.Frames(path.Addresses)
			names := functions(frames)
			if at := slices.Index(names, "syscall.read"); path.End != Bottom || at < 1 || !slices.Equal(names[at:], inDeep(3, false)) {
				t.Fatalf("%v%s", path.End, show(frames))
			}
			checkPlaces(t, frames[slices.Index(names, "syscall.read"):])
		})
	}
}

func TestRunningKernelsCallsBetweenGoAndCEndWhereTheStackChanges(t *testing.T) {
	t.Setenv("CGO_ENABLED", "1")
	program := filepath.Join(t.TempDir(), "cgo")
	build(t, "testdata/cgo", "go", "build", "-o", program, "main.go")
	for _, c := range []struct {
		args []string
		end  End
		want []string
	}{
		{nil, Switched, []string{"read", "in_c", "runtime.asmcgocall.abi0"}},
		// Go continues where it called C, on the stack that it had then. C's frames are on another one.
		{[]string{"back"}, Bottom, []string{"syscall.Read", "main.backInGo", "runtime.cgocallback", "main.outer", "runtime.goexit"}},
	} {
		pid := run(t, program, c.args...)
		p, _, path := unwound(t, pid, waitFor(t, pid, unix.SYS_READ, 0))
		frames := p.Frames(path.Addresses)
		for _, want := range c.want {
			if !slices.ContainsFunc(functions(frames), func(name string) bool {
				return strings.Contains(name, strings.TrimSuffix(want,
					".abi0"))
			}) {
				t.Errorf("%v: no %s", c.args, want)
			}
		}
		if path.End != c.end || t.Failed() {
			t.Errorf("%v: %v%s", c.args, path.End, show(frames))
		}
	}
}

// Node keeps frame pointers in the code that it makes, and writes names for perf when it is told to.
func TestRunningKernelsCodeMadeAtRunTimeHasNames(t *testing.T) {
	const script = `const fs = require("fs")
function innermostCall(fd) { return fs.readSync(fd, Buffer.alloc(1)) }
function outermostCall(fd) { return innermostCall(fd) + 1 }
outermostCall(0)`
	pid := run(t, "/usr/bin/node", "--perf-basic-prof", "--interpreted-frames-native-stack", "-e", script)
	defer os.Remove(fmt.Sprintf("/tmp/perf-%d.map", pid))
	p, _, path := unwound(t, pid, waitFor(t, pid, unix.SYS_READ, 0))
	frames := p.Frames(path.Addresses)
	for _, want := range []string{"read", "uv_fs_read", "innermostCall", "outermostCall", "node::Start", "_start"} {
		if !slices.ContainsFunc(functions(frames), func(name string) bool { return strings.Contains(name, want) }) {
			t.Errorf("no %s", want)
		}
	}
	if path.End != Bottom || t.Failed() {
		t.Errorf("%v%s", path.End, show(frames))
	}
}

func TestRunningKernelsVDSOHasTablesAndNames(t *testing.T) {
	s := NewStore(Options{})
	f, err := s.openVDSO()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range f.symbols().list {
		if name, _, ok := f.symbols().find(one.address); ok && strings.Contains(name, "clock_gettime") {
			if step := f.step(one.address, true); step.kind != byRow {
				t.Errorf("%s is unwound in way %d", name, step.kind)
			}
			return
		}
	}
	t.Error("no clock_gettime")
}

// A program that became another one by exec has other code.
func TestRunningKernelsExecIsSeenAfterRefresh(t *testing.T) {
	pid := run(t, "/bin/sh", "-c", "read x; exec sleep 1000")
	waitFor(t, pid, unix.SYS_READ, 0)
	s := NewStore(Options{})
	defer s.Close()
	p, err := s.Process(pid)
	if err != nil {
		t.Fatal(err)
	}
	before := len(p.maps)
	if err := p.Refresh(); err != nil || len(p.maps) != before {
		t.Fatal(err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid)); err != nil {
		t.Fatal(err)
	}
	input, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/0", pid), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	input.WriteString("go\n")
	input.Close()
	waitFor(t, pid, unix.SYS_CLOCK_NANOSLEEP, -1)
	if err := p.Refresh(); err != nil {
		t.Fatal(err)
	}
	path := p.Unwind(capture(t, pid, pid, copied))
	frames := p.Frames(path.Addresses)
	if path.End != Bottom || frames[len(frames)-1].Module != "sleep" {
		t.Errorf("%v%s", path.End, show(frames))
	}
}
