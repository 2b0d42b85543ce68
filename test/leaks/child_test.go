package leaks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// child is a process of a test that may still run.
type child struct {
	cmd            *exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr transcript
	done           chan struct{}
	err            error // valid once done is closed
}

// transcript is what a child has written so far.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// start starts a command by a function that may put it elsewhere. It ends with the test at the latest.
func start(t *testing.T, cmd *exec.Cmd, begin func(*exec.Cmd) error) *child {
	t.Helper()
	c := &child{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &c.stdout, &c.stderr
	cmd.WaitDelay = limit // descendants may have standard output for longer
	var err error
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := begin(cmd); err != nil {
		t.Fatal(err)
	}
	go func() {
		c.err = cmd.Wait()
		close(c.done)
	}()
	t.Cleanup(func() {
		c.stdin.Close()
		_ = cmd.Process.Kill() // an error says that it has ended
		<-c.done
	})
	return c
}

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) String() string {
	return fmt.Sprintf("%s\n--- stdout, the first 3,000 bytes\n%.3000s\n--- stderr\n%s", strings.Join(c.cmd.Args, " "), &c.stdout,
		&c.stderr)
}

// until waits for a condition, and fails the test when the child ends before it holds.
func (c *child) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	end := time.After(limit)
	for !holds() {
		select {
		case <-c.done:
			if holds() {
				return
			}
			t.Fatalf("it ended (%v) before %s: %v", c.cmd.ProcessState, what, c)
		case <-end:
			t.Fatalf("not in %v: %s: %v", limit, what, c)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// says waits for a line on standard output that begins so, and gives what follows. What says "done" has opened and closed what it
// was to, and the kernel has done so, too.
func (c *child) says(t *testing.T, word string) (rest string) {
	t.Helper()
	c.until(t, "it says "+word, func() (found bool) {
		for line := range strings.Lines(c.stdout.String()) {
			if after, ok := strings.CutPrefix(line, word); ok && strings.HasSuffix(line, "\n") {
				rest, found = strings.TrimSpace(after), true
			}
		}
		return found
	})
	if word == "done" {
		atRest(t)
	}
	return rest
}

// tell writes a line to its standard input.
func (c *child) tell(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(c.stdin, "go\n"); err != nil {
		t.Fatalf("%v: %v", err, c)
	}
}

func (c *child) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		t.Fatalf("send %v: %v: %v", s, err, c)
	}
}

// exits waits for the end.
func (c *child) exits(t *testing.T, code int) *child {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(limit):
		t.Fatalf("it has not ended in %v: %v", limit, c)
	}
	if exit := new(exec.ExitError); c.err != nil && !errors.As(c.err, &exit) {
		t.Fatalf("%v: %v", c.err, c)
	}
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("exit status %d, want %d: %v", got, code, c)
	}
	return c
}

// lastLine is the last one on standard error.
func (c *child) lastLine() string {
	lines := strings.Split(strings.TrimRight(c.stderr.String(), "\n"), "\n")
	return lines[len(lines)-1]
}

// descendants are the processes that one has started, and those that these have, oldest first.
func descendants(of int) []int {
	family := []int{of}
	folders, _ := filepath.Glob("/proc/[0-9]*")
	slices.SortFunc(folders, func(a, b string) int { return pidOf(a) - pidOf(b) })
	for again := true; again; {
		again = false
		for _, f := range folders {
			if pid := pidOf(f); slices.Contains(family, parent(f)) && !slices.Contains(family, pid) {
				family, again = append(family, pid), true
			}
		}
	}
	return family[1:]
}

func pidOf(folder string) int {
	pid, _ := strconv.Atoi(filepath.Base(folder))
	return pid
}

func parent(folder string) int {
	text, _ := os.ReadFile(folder + "/status")
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "PPid:"); ok {
			pid, _ := strconv.Atoi(strings.TrimSpace(v))
			return pid
		}
	}
	return -1
}
