package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
)

// The tests of this package run the program as its users do: as a child process, built once.

// program is the built connprof.
var program string

// Exit codes, as the contract has them.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitBudget = 3
)

// childLimit ends a child that hangs. No claim about time rests on it.
const childLimit = 10 * time.Minute

func TestMain(m *testing.M) {
	confinedMain()
	serverMain()
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "the tests of connprof run connprof run, which needs root: run them with sudo")
		return 1
	}
	dir, err := os.MkdirTemp("", "connprof-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	defer removeMainJob()
	if err := os.Chmod(dir, 0o755); err != nil { // for the tests that are another user
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if program = os.Getenv("CONNPROF_TEST_PROGRAM"); program != "" { // where there is no Go: in a virtual machine
		return m.Run()
	}
	program = filepath.Join(dir, "connprof")
	build := exec.Command("go", "build", "-o", program, "../../cmd/connprof")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as the Makefile does: the C library complains in words of its own
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// result is how a child ended.
type result struct {
	args           []string
	code           int
	stdout, stderr string
}

// connprof runs the program to its end, in a directory of its own.
func connprof(t testing.TB, args ...string) result {
	t.Helper()
	return finish(t, command(t, args...))
}

// command is a child that is not yet started. Its environment holds nothing that would change what it does.
func command(t testing.TB, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "TERM=xterm"}
	return cmd
}

// finish starts a child and waits for its end.
func finish(t testing.TB, cmd *exec.Cmd) result {
	t.Helper()
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Start(); e != nil {
		t.Fatalf("start %v: %v", cmd.Args, e)
	}
	hung := time.AfterFunc(childLimit, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	return ended(t, cmd, cmd.Wait(), out.String(), err.String())
}

func ended(t testing.TB, cmd *exec.Cmd, err error, stdout, stderr string) result {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %v: %v", cmd.Args, err)
	}
	return result{cmd.Args[1:], cmd.ProcessState.ExitCode(), stdout, stderr}
}

func (r result) String() string {
	return fmt.Sprintf("connprof %s: exit status %d\n--- stdout, the first 2,000 bytes\n%.2000s\n--- stderr\n%s",
		strings.Join(r.args, " "), r.code, r.stdout, r.stderr)
}

func (r result) exits(t testing.TB, code int) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("want exit status %d: %v", code, r)
	}
	return r
}

// stderrLines are the lines on stderr, without empty ones at the end.
func (r result) stderrLines() []string {
	return strings.Split(strings.TrimRight(r.stderr, "\n"), "\n")
}

func (r result) lastLine() string {
	lines := r.stderrLines()
	return lines[len(lines)-1]
}

// goisms are words that belong to the program's inside and not before its users.
var goisms = []string{"goroutine", "panic", "runtime error", "Go value", "Go struct", "strconv.", "%!", "<nil>"}

// progress are the lines that tell how a ramp goes. Two are alike where the program stood still between them.
var progress = regexp.MustCompile(`^ *[0-9.]+ s  \d+ of \d+ up`)

// complains checks an error as CONTRACT has it: the exit status, and a last line on stderr that says what the test
// wants to read there. Nothing else is said twice.
func (r result) complains(t testing.TB, code int, wants ...string) {
	t.Helper()
	r.exits(t, code)
	last := r.lastLine()
	if !strings.HasPrefix(last, "connprof: ") {
		t.Errorf("the last line on stderr is not connprof's complaint: %v", r)
	}
	for _, want := range wants {
		if !strings.Contains(last, want) {
			t.Errorf("the complaint does not say %q: %s", want, last)
		}
	}
	for _, word := range goisms {
		if strings.Contains(r.stderr, word) {
			t.Errorf("stderr speaks of %q: %s", word, r.stderr)
		}
	}
	seen := map[string]bool{}
	for _, line := range r.stderrLines() {
		if seen[line] && !progress.MatchString(line) {
			t.Errorf("stderr says %q twice", line)
		}
		seen[line] = true
	}
}

// refuses checks a command line that is refused before anything is done: the complaint is all there is.
func (r result) refuses(t testing.TB, code int, wants ...string) {
	t.Helper()
	r.complains(t, code, wants...)
	if r.stdout != "" {
		t.Errorf("something was printed to stdout: %v", r)
	}
	if n := len(r.stderrLines()); n != 1 {
		t.Errorf("want one line on stderr, not %d: %v", n, r)
	}
}

// says checks that text contains all of the parts.
func says(t testing.TB, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not say %q:\n%.3000s", what, part, text)
		}
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readRecording(t testing.TB, path string) *recording.Recording {
	t.Helper()
	rec, err := recording.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// readOne reads the recording of a run on one machine.
func readOne(t testing.TB, path string) *recording.Machine {
	t.Helper()
	return onlyOne(t, readRecording(t, path))
}

func onlyOne(t testing.TB, rec *recording.Recording) *recording.Machine {
	t.Helper()
	m, err := check.One(rec)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// holds reports what a check has found wrong.
func holds(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// checkCounts checks that all of n connections are established, and that walk and trace have each of them.
func checkCounts(t testing.TB, m *recording.Machine, n int) {
	t.Helper()
	holds(t, check.Load(m, n), check.Endpoints(m, kernel.RoleClient, n), check.Endpoints(m, kernel.RoleServer, n),
		check.Opens(m, n, check.Roles...), check.Losses(m))
}

// established is the only row of a role, which is ESTABLISHED.
func established(t testing.TB, m *recording.Machine, role kernel.Role) recording.EndpointRow {
	t.Helper()
	row, err := check.Established(m, role)
	if err != nil {
		t.Fatal(err)
	}
	return row
}
