package symbolise

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// compile makes a program of a C or C++ source. The compiler is installed by make unwind-tools.
func compile(t testing.TB, compiler, source string, flags ...string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "chain")
	command := append([]string{compiler, "-O2", "-fno-optimize-sibling-calls", "-o", program}, flags...)
	build(t, "testdata", append(command, source)...)
	return program
}

// inChain is what the C program is known to call, without what the C library calls in between.
var inChain = []string{"read", "leaf", "large", "any_size", "again", "again", "again", "again", "again", "by_value", "qsort_r",
	"first"}

// own leaves out functions of the C library that do not matter.
func own(names []string) []string {
	var kept []string
	for _, name := range names {
		name, _, _ = strings.Cut(name, ".") // of a part that the compiler has made: by_value.constprop.0
		name = strings.TrimLeft(name, "_")
		if slices.Contains(inChain, name) || name == "main" {
			kept = append(kept, name)
		}
	}
	return kept
}

func TestRunningKernelsCProgramsAreUnwoundWhole(t *testing.T) {
	noTables := []string{"-g", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"}
	for name, flags := range map[string][]string{
		"no frame pointer":       {"-fomit-frame-pointer"},
		"frame pointer":          {"-fno-omit-frame-pointer"},
		"not PIE":                {"-no-pie"},
		"static":                 {"-static"},
		"static PIE":             {"-static-pie"},
		"no index":               {"-Wl,--no-eh-frame-hdr"},
		"debug frame":            noTables,
		"compressed debug frame": append(noTables, "-gz=zlib"),
		"optimised for size":     {"-Os"},
		"no optimisation":        {"-O0"},
		"thunks":                 {"-mindirect-branch=thunk"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := compile(t, "gcc", "chain.c", append(flags, "-pthread")...)
			for _, args := range [][]string{nil, {"thread"}} {
				pid := run(t, program, args...)
				p, _, path := unwound(t, pid, waitFor(t, pid, unix.SYS_READ, 0))
				frames := p.Frames(path.Addresses)
				want := inChain
				if args == nil {
					want = append(slices.Clone(inChain), "main")
				}
				if got := own(functions(frames)); path.End != Bottom || !slices.Equal(got, want) {
					t.Errorf("%v: %v%s", args, path.End, show(frames))
				}
			}
		})
	}
}

func TestRunningKernelsCPlusPlusIsDemangled(t *testing.T) {
	pid := run(t, compile(t, "g++", "chain.cc", "-std=c++17"))
	p, _, path := unwound(t, pid, waitFor(t, pid, unix.SYS_READ, 0))
	frames := p.Frames(path.Addresses)
	names := functions(frames)
	for _, want := range []string{"nested::Holder<double>::wait", "nested::call", "main"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s in%s", want, show(frames))
		}
	}
	if path.End != Bottom {
		t.Errorf("%v%s", path.End, show(frames))
	}
}

// musl has neither unwind tables nor frame pointers. So its code is read.
func TestRunningKernelsMuslIsUnwoundWhole(t *testing.T) {
	for name, flags := range map[string][]string{"dynamic": nil, "static": {"-static"}, "optimised for size": {"-Os", "-static"}} {
		t.Run(name, func(t *testing.T) {
			program := compile(t, "musl-gcc", "chain.c", flags...)
			for _, args := range [][]string{nil, {"thread"}} {
				pid := run(t, program, args...)
				p, _, path := unwound(t, pid, waitFor(t, pid, unix.SYS_READ, 0))
				frames := p.Frames(path.Addresses)
				got := slices.DeleteFunc(own(functions(frames)), func(name string) bool { return name == "qsort_r" })
				want := slices.DeleteFunc(slices.Clone(inChain), func(name string) bool { return name == "qsort_r" })
				if args == nil {
					want = append(want, "main")
				}
				if path.End != Bottom || !slices.Equal(got, want) {
					t.Errorf("%v: %v%s", args, path.End, show(frames))
				}
			}
		})
	}
}
