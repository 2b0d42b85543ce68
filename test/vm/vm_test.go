//go:build vm

package vm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
	"github.com/connprof/connprof/test/vm/wire"
)

// modules are the kinds of interfaces that netup is tried on. The stock kernels have them as modules, and there is no
// modprobe that the kernel could ask for one. Parameters keep them from making an interface on their own.
var modules = []wire.Module{{Name: "veth"}, {Name: "bridge"}, {Name: "8021q"}, {Name: "macvlan"},
	{Name: "bonding", Params: "max_bonds=0"}, {Name: "dummy", Params: "numdummies=0"},
	// And connection tracking, in the path of nothing before a test puts it there.
	{Name: "nft_ct"}}

// allowedSkips names, by kernel version, the tests that may skip themselves there. Any other skip is a failure: a
// feature that the kernel should have was not found.
var allowedSkips = map[string][]allowedSkip{}

type allowedSkip struct {
	folder string
	test   string
	reason string // part of what the test says when it skips
}

const (
	defaultKernels = "5.10 6.1 6.12 7.2"
	root           = "../.."
	recordingName  = "recording.json"
	mainIPs        = 20
	mainConns      = 2000
	// commandTimeout is for one program; an emulated processor is ten to thirty times slower than a real one.
	commandTimeout = 10 * time.Minute
	machineTimeout = 20 * time.Minute
)

// TestKernels runs the packages' tests and the main job under each kernel named in KERNEL. The kernels are kept in
// CONNPROF_KERNELS, by default .cache/kernels. With CONNPROF_VM_OUT set, recordings and consoles are left there.
func TestKernels(t *testing.T) {
	needQemu(t)
	p := buildPrograms(t)
	forEachKernel(t, func(t *testing.T, version string) { testKernel(t, version, p) })
}

func needQemu(t *testing.T) {
	t.Helper()
	if _, err := findQemu(); err != nil {
		t.Fatal(err)
	}
}

// forEachKernel runs a subtest for each kernel named in KERNEL, as many at a time as there are processors (go test's
// -parallel): a virtual machine has one thread for all its processors.
func forEachKernel(t *testing.T, test func(t *testing.T, version string)) {
	versions := strings.Fields(os.Getenv("KERNEL"))
	if len(versions) == 0 {
		versions = strings.Fields(defaultKernels)
	}
	for _, version := range longestFirst(versions) {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, version)
		})
	}
}

// programs are the files to test, as built on the host.
type programs struct {
	connprof string
	hold     string // runs into limits
	tests    []testProgram
}

type testProgram struct {
	testPackage
	binary string
	files  map[string]string // of the host, by their names in the folder of the test
}

func buildPrograms(t *testing.T) programs {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "built"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := programs{connprof: buildCommand(t, dir, "./cmd/connprof"), hold: buildCommand(t, dir, "./test/hold")}
	for _, tested := range testPackages {
		sources, err := filepath.Glob(filepath.Join(root, tested.folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if len(sources) == 0 {
			t.Logf("%s has no tests", tested.folder)
			continue
		}
		binary := filepath.Join(dir, path.Base(tested.folder)+".test")
		goTool(t, "test", "-c", "-tags", "vm", "-o", binary, "./"+tested.folder)
		files := map[string]string{}
		for name, command := range tested.built {
			file := filepath.Join(dir, "built", name)
			tool(t, strings.Fields(strings.ReplaceAll(command, "FILE", file))...)
			files[path.Join("built", name)] = file
		}
		p.tests = append(p.tests, testProgram{tested, binary, files})
	}
	return p
}

// buildCommand builds a command of the project into dir and gives its path.
func buildCommand(t *testing.T, dir, source string) string {
	t.Helper()
	binary := filepath.Join(dir, path.Base(source))
	goTool(t, "build", "-o", binary, source)
	return binary
}

func goTool(t *testing.T, args ...string) {
	t.Helper()
	tool(t, append([]string{"go"}, args...)...)
}

// tool builds for the virtual machine: no C library there, and qemu's processor is the plainest amd64.
func tool(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func testKernel(t *testing.T, version string, p programs) {
	config := Config{Files: map[string]string{"/connprof": p.connprof, "/hold": p.hold}, Modules: modules}
	tests := slices.DeleteFunc(slices.Clone(p.tests), func(p testProgram) bool { return !p.on(version) })
	for _, program := range tests {
		addTestProgram(t, &config, version, program)
	}
	rungs := mainJobs(version)
	for _, hooks := range rungs {
		config.Commands = append(config.Commands, mainJob(string(hooks)))
	}
	result := bootKernel(t, version, version, config)
	for i, c := range result.Commands {
		if i < len(tests) {
			folder := tests[i].folder
			t.Run(folder, func(t *testing.T) {
				checkTestRun(t, version, folder, c)
				if folder == hostLimits {
					checkPage(t, result.Files)
				}
			})
			continue
		}
		hooks := rungs[i-len(tests)]
		t.Run("main job by "+string(hooks), func(t *testing.T) { checkMainJob(t, c, hooks, result.Files) })
	}
}

// bootKernel fetches and boots a kernel, and leaves the evidence under the given label. A machine that came back early
// is an error, and what did come back is still looked at.
func bootKernel(t *testing.T, version, label string, config Config) *Result {
	t.Helper()
	folder, release := fetchKernel(t, version)
	config.Vmlinuz, config.ModuleDir = filepath.Join(folder, "vmlinuz"), filepath.Join(folder, "modules")
	config.Timeout = machineTimeout
	config.Said = func(line string) { t.Logf("%s: %s", label, line) }
	ctx, cancel := untilDeadline(t)
	defer cancel()
	result, err := Boot(ctx, config)
	if result != nil && result.panickedBeforeInit() {
		t.Logf("%s: %v\nIt panicked before init, where nothing of connprof has run. It boots once more.", label, err)
		result, err = Boot(ctx, config)
	}
	if result == nil {
		t.Fatal(err)
	}
	keepEvidence(t, label, result)
	t.Logf("%s: powered off after %.1f s", label, result.Seconds)
	if err != nil {
		t.Error(err)
	} else if result.Boot.Release != release {
		t.Errorf("kernel %s ran, %s was fetched", result.Boot.Release, release)
	}
	return result
}

// untilDeadline ends a little before `go test -timeout` ends everything, in time to say where the machine was.
func untilDeadline(t *testing.T) (context.Context, context.CancelFunc) {
	deadline, ok := t.Deadline()
	if !ok {
		return context.WithCancel(t.Context())
	}
	return context.WithDeadline(t.Context(), deadline.Add(-15*time.Second))
}

func fetchKernel(t *testing.T, version string) (folder, release string) {
	t.Helper()
	kernels := os.Getenv("CONNPROF_KERNELS")
	if kernels == "" {
		kernels = filepath.Join(root, ".cache", "kernels")
	}
	folder = filepath.Join(kernels, version)
	out, err := exec.CommandContext(t.Context(), "./fetch-kernel.sh", version, kernels).CombinedOutput()
	if err != nil {
		t.Fatalf("fetch kernel %s: %v: %s", version, err, bytes.TrimSpace(out))
	}
	text, err := os.ReadFile(filepath.Join(folder, "release"))
	if err != nil {
		t.Fatal(err)
	}
	return folder, strings.TrimSpace(string(text))
}

// addTestProgram puts a package's test binary and its testdata into a folder of its own, where the test is started.
func addTestProgram(t *testing.T, config *Config, version string, p testProgram) {
	t.Helper()
	dir := path.Join("/test", p.folder)
	binary := path.Join(dir, path.Base(p.binary))
	config.Files[binary] = p.binary
	for name, file := range p.files {
		config.Files[path.Join(dir, name)] = file
	}
	source := filepath.Join(root, p.folder)
	err := filepath.WalkDir(filepath.Join(source, "testdata"), func(file string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(source, file)
		config.Files[path.Join(dir, filepath.ToSlash(name))] = file
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	// The test gives up first, and says where it was.
	argv := []string{binary, "-test.v=test2json", "-test.run=" + p.run, "-test.skip=" + p.skipped(version),
		"-test.timeout=" + (commandTimeout - 20*time.Second).String()}
	if p.parallel > 0 {
		argv = append(argv, "-test.parallel="+strconv.Itoa(p.parallel))
	}
	config.Commands = append(config.Commands, wire.Command{
		Argv:           argv,
		Env:            []string{"CONNPROF_TEST_PROGRAM=/connprof"},
		Dir:            dir,
		TimeoutSeconds: commandTimeout.Seconds(),
	})
}

// mainJob is the run that everybody makes first, with the rung of connect and accept chosen by --hooks.
func mainJob(hooks string) wire.Command {
	return wire.Command{
		Argv: []string{"/connprof", "run", "--ips", strconv.Itoa(mainIPs), "--conns", strconv.Itoa(mainConns),
			"--hooks", hooks, "-o", path.Join(wire.OutDir, recordingBy(hooks))},
		TimeoutSeconds: commandTimeout.Seconds(),
	}
}

func recordingBy(hooks string) string { return hooks + "." + recordingName }

// keepEvidence leaves recordings and the console where CONNPROF_VM_OUT says, their names after the label.
func keepEvidence(t *testing.T, label string, r *Result) {
	t.Helper()
	folder := os.Getenv("CONNPROF_VM_OUT")
	if folder == "" {
		return
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	evidence := map[string][]byte{"console": []byte(r.Console)}
	for name, content := range r.Files {
		evidence[filepath.Base(name)] = content
	}
	for name, content := range evidence {
		if err := os.WriteFile(filepath.Join(folder, label+"."+name), content, 0o644); err != nil {
			t.Error(err)
		}
	}
}

// checkEnd wants a command that ended by itself, with status 0. What it wrote is of interest where it did not.
func checkEnd(t *testing.T, c wire.CommandResult) {
	t.Helper()
	if failed(c) {
		t.Errorf("%s\n%s", outcome(c), complaint(c))
		inShort.add(t.Name(), outcome(c)+"\n"+complaint(c))
	}
}

// rungOf is the kind of rung that connect and accept must get by each value of --hooks. Every stock kernel of the matrix
// offers all of them.
var rungOf = map[kernel.HookKind]kernel.HookKind{
	kernel.KindAuto:       kernel.KindKprobe,
	kernel.KindKprobe:     kernel.KindKprobe,
	kernel.KindFentry:     kernel.KindFentry,
	kernel.KindTracepoint: kernel.KindTracepoint,
}

// checkMainJob holds the run's recording against what must be so, and its account against that of the run by itself.
func checkMainJob(t *testing.T, c wire.CommandResult, hooks kernel.HookKind, files map[string][]byte) {
	checkEnd(t, c)
	m := readOne(t, files, recordingBy(string(hooks)))
	errs := []error{check.Alone(m, rungOf[hooks], mainIPs, mainConns), check.Stacks(m)}
	if hooks == kernel.KindAuto {
		errs = append(errs, check.Hooks(m))
	}
	if err := errors.Join(errs...); err != nil {
		t.Errorf("the recording:\n%v", err)
		inShort.add(t.Name(), err.Error())
	}
	auto := readOne(t, files, recordingBy(string(kernel.KindAuto)))
	if err := checkSameAccount(named{"by auto", auto}, named{"by " + string(hooks), m}); err != nil {
		t.Errorf("the account:\n%v", err)
		inShort.add(t.Name(), err.Error())
	}
}

func readRecording(t *testing.T, files map[string][]byte, name string) *recording.Recording {
	t.Helper()
	r, err := recording.Read(bytes.NewReader(files[name]))
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	return r
}

// readOne reads the recording of a run on one machine.
func readOne(t *testing.T, files map[string][]byte, name string) *recording.Machine {
	t.Helper()
	m, err := check.One(readRecording(t, files, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return m
}

// checkTestRun reports a package's tests: what failed and what it printed, and what was skipped without leave.
func checkTestRun(t *testing.T, version, folder string, c wire.CommandResult) {
	events := testEvents(t, c.Output)
	printed := map[string]string{}
	passed, told := 0, false
	for _, e := range events {
		printed[e.Test] += e.Output
		if e.Action == "pass" && e.Test != "" {
			passed++
		}
	}
	t.Logf("%s: %d tests passed; slowest: %s", folder, passed, slowest(events))
	failedTests := failedIn(events)
	for _, e := range events {
		switch {
		case e.Test == "":
		case e.Action == "fail":
			told = true
			t.Errorf("%s failed:\n%s", e.Test, printed[e.Test])
			if innermost(e.Test, failedTests) {
				inShort.add(fmt.Sprintf("%s %s %s", version, folder, e.Test), printed[e.Test])
			}
		case e.Action == "skip" && !maySkip(version, folder, e.Test, printed[e.Test]):
			t.Errorf("%s was skipped, which kernel %s gives no reason for:\n%s", e.Test, version, printed[e.Test])
		}
	}
	switch {
	case failed(c) && told:
		t.Error(outcome(c))
	case failed(c): // no test says why: it was killed, or crashed
		checkEnd(t, c)
	case passed == 0:
		t.Error("no test passed")
	}
}

// slowestTests is how many of a package's tests are named with what they took.
const slowestTests = 8

// slowest names the tests that took longest, where there is time to save.
func slowest(events []testEvent) string {
	over := slices.DeleteFunc(slices.Clone(events), func(e testEvent) bool { return e.Elapsed == 0 || e.Test == "" || strings.Contains(e.Test, "/") })
	slices.SortFunc(over, func(a, b testEvent) int { return cmp.Compare(b.Elapsed, a.Elapsed) })
	var names []string
	for _, e := range over[:min(len(over), slowestTests)] {
		names = append(names, fmt.Sprintf("%s %.0f s", e.Test, e.Elapsed))
	}
	return strings.Join(names, ", ")
}

func failedIn(events []testEvent) []string {
	var names []string
	for _, e := range events {
		if e.Action == "fail" && e.Test != "" {
			names = append(names, e.Test)
		}
	}
	return names
}

func maySkip(version, folder, test, printed string) bool {
	for _, a := range allowedSkips[version] {
		if a.folder == folder && a.test == test && strings.Contains(printed, a.reason) {
			return true
		}
	}
	return false
}

// testEvent is what of `go tool test2json`'s output is used here.
type testEvent struct {
	Action string // run, output, pass, fail, skip, ...
	Test   string // empty for the package as a whole
	Output string
	// Elapsed is what the test took, in seconds, where it is over.
	Elapsed float64
}

func testEvents(t *testing.T, output string) []testEvent {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "test2json", "-t") // with what each took
	cmd.Stdin = strings.NewReader(output)
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("go tool test2json: %v", err)
	}
	var events []testEvent
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var e testEvent
		switch err := d.Decode(&e); {
		case errors.Is(err, io.EOF):
			return events
		case err != nil:
			t.Fatal(fmt.Errorf("read the output of go tool test2json: %w", err))
		}
		events = append(events, e)
	}
}
