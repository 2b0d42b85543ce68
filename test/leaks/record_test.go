package leaks

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// record is a connprof record.
type record struct {
	*child
	file string
}

// forever is longer than any test: who ends the record is the test.
const forever = "1h"

// newRecord starts one, with standard input for a command that it may start.
func newRecord(t *testing.T, args ...string) *record {
	t.Helper()
	dir := t.TempDir() // node writes more than one file to where it is
	file := filepath.Join(dir, "rec.json")
	cmd := exec.Command(connprof, append([]string{"record", "-o", file}, args...)...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "TERM=xterm"}
	return &record{start(t, cmd, (*exec.Cmd).Start), file}
}

// recordOf starts one of what runs already, and waits until it watches: until it has told once how it gets on.
func recordOf(t *testing.T, args ...string) *record {
	t.Helper()
	r := newRecord(t, append([]string{"--duration", forever}, args...)...)
	r.until(t, "it watches", func() bool { return strings.Contains(r.stderr.String(), "opens/s") })
	return r
}

// ends interrupts the record, as a person would, and gives what it has recorded.
func (r *record) ends(t *testing.T) *recording.Machine {
	t.Helper()
	r.signal(t, syscall.SIGINT)
	r.exits(t, exitDone)
	return r.read(t)
}

// exits waits for the end.
func (r *record) exits(t *testing.T, code int) *record {
	t.Helper()
	r.child.exits(t, code)
	return r
}

func (r *record) read(t *testing.T) *recording.Machine {
	t.Helper()
	rec, err := recording.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Kind != recording.KindRecord || len(rec.Machines) != 1 || rec.Machines[0].Record == nil {
		t.Fatalf("a recording of kind %s with %d machines: %v", rec.Kind, len(rec.Machines), r)
	}
	m := rec.Machines[0]
	// A stack that was not read may be another process's. Whether it is one of the test's is told by its openers.
	lost := m.Losses
	lost.RecursionMisses = 0 // see agrees
	if lost.StackFailures = 0; lost.Total() != 0 {
		t.Errorf("losses: %+v", m.Losses)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logOpeners(t, m)
		}
	})
	return m
}

// logOpeners lists what was recorded, for whoever looks at a failed test.
func logOpeners(t *testing.T, m *recording.Machine) {
	r := m.Record
	t.Logf("%d opened, %d closed, %d failed, %d live, %d vanished, %d unseen, %d before, %d never connected; stacks %+v", r.Opened,
		r.Closed, r.Failed, r.Live, r.Vanished, r.Unseen, r.Before, r.NeverConnected, r.Stacks)
	for _, o := range m.Openers {
		t.Logf("%s %s %d %v %s %s: %+v, stack %s %s, %v, tenths %v: %.1000s", o.Kind, o.Role, o.PID, o.PIDs, o.Comm,
			o.Listener, sum([]recording.Opener{o}), o.Stack, o.Why, o.Errors, o.Tenths, strings.Join(o.Frames, " > "))
	}
}

// counts are what has become of connections.
type counts struct{ opened, closed, failed, live int }

func (c *counts) add(o recording.Opener) {
	c.opened, c.closed, c.failed, c.live = c.opened+o.Opened, c.closed+o.Closed, c.failed+o.Failed, c.live+o.Live
}

// times is the counts of several that did the same.
func (c counts) times(n int) counts {
	return counts{n * c.opened, n * c.closed, n * c.failed, n * c.live}
}

// agrees tells whether counts are what they should be, less what the kernel says that it has kept from the programs: kernels that
// preempt them leave some out (docs/results/accuracy.md).
func (c counts) agrees(want counts, m *recording.Machine) bool {
	missed := int(m.Losses.RecursionMisses)
	near := func(got, want int) bool { return got <= want && want-got <= missed }
	return near(c.opened, want.opened) && near(c.closed, want.closed) && near(c.failed, want.failed) && near(c.live, want.live)
}

func total(r *recording.Record) counts { return counts{r.Opened, r.Closed, r.Failed, r.Live} }

// clients are the openers that called connect().
func clients(m *recording.Machine) []recording.Opener {
	var list []recording.Opener
	for _, o := range m.Openers {
		if o.Role == kernel.RoleClient {
			list = append(list, o)
		}
	}
	return list
}

// servers are the openers that accept() returned to, or that listen.
func servers(m *recording.Machine) (list []recording.Opener) {
	for _, o := range m.Openers {
		if o.Role == kernel.RoleServer {
			list = append(list, o)
		}
	}
	return list
}

// owned are the openers of some processes.
func owned(openers []recording.Opener, pids ...int) (list []recording.Opener) {
	for _, o := range openers {
		if of(o, pids) {
			list = append(list, o)
		}
	}
	return list
}

// through are the openers of some processes with a function on the way.
func through(m *recording.Machine, function string, pids ...int) []recording.Opener {
	return slices.DeleteFunc(owned(clients(m), pids...), func(o recording.Opener) bool { return !calls(o, function) })
}

// of tells whether an opener is of these processes alone.
func of(o recording.Opener, pids []int) bool {
	all := append([]int{o.PID}, o.PIDs...)
	return !slices.ContainsFunc(all, func(pid int) bool { return !slices.Contains(pids, pid) })
}

func calls(o recording.Opener, function string) bool {
	return slices.ContainsFunc(o.Frames, func(frame string) bool { return strings.Contains(frame, function) })
}

// sum adds openers up.
func sum(openers []recording.Opener) (c counts) {
	for _, o := range openers {
		c.add(o)
	}
	return c
}

func pidFlag(pid int) []string { return []string{"-p", strconv.Itoa(pid)} }
