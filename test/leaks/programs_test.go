package leaks

import (
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// built is what is compiled already, by file.
var built sync.Map

// ready is where programs are that were compiled elsewhere, in a virtual machine.
const ready = "built"

// compiled is a file below folder, made by a build that happens once.
func compiled(t *testing.T, name string, make func(to string) error) string {
	t.Helper()
	if inMachine() {
		path, err := filepath.Abs(filepath.Join(ready, name))
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	once, _ := built.LoadOrStore(name, sync.OnceValue(func() error { return make(filepath.Join(folder, name)) }))
	if err := once.(func() error)(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, name)
}

// byCompiler compiles a file of programs with flags.
func byCompiler(compiler, source string, flags ...string) func(string) error {
	return func(to string) error {
		return build(exec.Command(compiler, append([]string{"-o", to, "programs/" + source}, flags...)...))
	}
}

func byGo(source string, flags ...string) func(string) error {
	return func(to string) error { return goBuild(to, "./programs/"+source, flags...) }
}

// single is a program that is one file.
func single(name string, make func(string) error) func(*testing.T) []string {
	return func(t *testing.T) []string { return []string{compiled(t, name, make)} }
}

func withLibrary(t *testing.T) []string {
	library := compiled(t, "libleak.so", byCompiler("gcc", "leak.c", "-O2", "-shared", "-fPIC", "-DLIBRARY"))
	return []string{compiled(t, "host", byCompiler("gcc", "host.c", "-O2")), library}
}

// python is Debian's, whose headers the module is compiled with.
const python = "/usr/bin/python3"

func withModule(t *testing.T) []string {
	module := compiled(t, "leakmodule.so", func(to string) error {
		flags, err := exec.Command("/usr/bin/python3-config", "--includes").Output()
		if err != nil {
			return err
		}
		return byCompiler("gcc", "leakmodule.c", append(strings.Fields(string(flags)), "-O2", "-shared", "-fPIC")...)(to)
	})
	return []string{python, source(t, "leak.py"), filepath.Dir(module)}
}

// byNode is the flags under which node says where its functions are.
func byNode(t *testing.T) []string {
	return []string{"node", "--perf-basic-prof", "--interpreted-frames-native-stack", source(t, "leak.js")}
}

// source is a file of programs by its whole path.
func source(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("programs", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}
