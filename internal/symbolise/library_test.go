package symbolise

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The go command is a Go program with a build ID; a copy of it stands for what a server runs.
func TestALibraryNamesByBuildID(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	program := "package main\n\nfunc main() { println(add(1, 2)) }\n\n//go:noinline\nfunc add(a, b int) int { return a + b }\n"
	if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "deep", "program")
	if out, err := exec.Command("go", "build", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, make := range map[string]func(string) error{
		"fifo":   func(at string) error { return exec.Command("mkfifo", at).Run() },
		"link":   func(at string) error { return os.Symlink("/proc/kcore", at) },
		"no ELF": func(at string) error { return os.WriteFile(at, []byte("\x7fELF"), 0o600) },
	} {
		if err := make(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := OpenLibrary(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	table := f.pclntab()
	if table == nil {
		t.Fatal("the program has no table of functions")
	}
	out, err := exec.Command("go", "tool", "nm", binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	var address uint64
	for _, line := range strings.Split(string(out), "\n") {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[2] == "main.add" {
			address = hexadecimal(t, fields[0])
		}
	}
	named := l.Name(f.buildID(), address)
	if len(named) != 1 || named[0].Function != "main.add" || named[0].Line != 6 || !strings.HasSuffix(named[0].File, "main.go") {
		t.Errorf("%q at %#x is %+v", f.buildID(), address, named)
	}
	if other := l.Name("deadbeef", address); other != nil {
		t.Errorf("a build ID that no file has is %+v", other)
	}
	if _, err := OpenLibrary(filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that is not there")
	}
}

func hexadecimal(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
