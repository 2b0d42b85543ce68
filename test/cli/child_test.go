package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// child is a connprof that is still running.
type child struct {
	cmd            *exec.Cmd
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

// start starts a child, which ends with the test at the latest.
func start(t testing.TB, cmd *exec.Cmd) *child {
	t.Helper()
	return startBy(t, cmd, (*exec.Cmd).Start)
}

// startBy starts a child by a function that may put it elsewhere.
func startBy(t testing.TB, cmd *exec.Cmd, begin func(*exec.Cmd) error) *child {
	t.Helper()
	c := &child{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &c.stdout, &c.stderr
	if err := begin(cmd); err != nil {
		t.Fatal(err)
	}
	go func() {
		c.err = cmd.Wait()
		close(c.done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // an error says that it has ended
		<-c.done
	})
	return c
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// until waits for a condition, and fails the test when the child ends before it holds.
func (c *child) until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	limit := time.After(childLimit)
	for !holds() {
		select {
		case <-c.done:
			if holds() {
				return
			}
			t.Fatalf("connprof ended before %s: %v", what, c.wait(t))
		case <-limit:
			t.Fatalf("no %s in %v: %s", what, childLimit, c.stderr.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// untilUp waits until progress tells of some connections that are up, and not yet of all.
func (c *child) untilUp(t testing.TB, requested int) {
	t.Helper()
	c.until(t, "the ramp is under way", func() bool {
		up, _ := c.up(requested)
		return up > 0
	})
	if up, _ := c.up(requested); up >= requested {
		t.Fatalf("the ramp was over before the test could look: %s", c.stderr.String())
	}
}

// up is the last number of connections that progress told of.
func (c *child) up(requested int) (up int, ok bool) {
	for _, line := range strings.Split(c.stderr.String(), "\n") {
		var seconds float64
		var n, of int
		if _, err := fmt.Sscanf(line, "%f s %d of %d up", &seconds, &n, &of); err == nil && of == requested {
			up, ok = n, true
		}
	}
	return up, ok
}

func (c *child) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		t.Fatalf("send %v: %v: %s", s, err, c.stderr.String())
	}
}

// wait waits for the child's end.
func (c *child) wait(t testing.TB) result {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(childLimit):
		t.Fatalf("connprof has not ended in %v: %s", childLimit, c.stderr.String())
	}
	return ended(t, c.cmd, c.err, c.stdout.String(), c.stderr.String())
}

// worker is the process ID of a child's load process, 0 while there is none.
func (c *child) worker(role string) int {
	for _, pid := range processes() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.HasPrefix(string(line), "connprof-load-"+role) && parent(pid) == c.pid() {
			return pid
		}
	}
	return 0
}

// processes lists the process IDs of all that runs the built program.
func processes() []int {
	var pids []int
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if path, err := os.Readlink(link); err == nil && strings.TrimSuffix(path, " (deleted)") == program {
			if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func parent(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for _, line := range strings.Split(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "PPid:"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(v))
			return n
		}
	}
	return 0
}
