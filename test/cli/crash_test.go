package cli

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/test/check"
)

// A ramp of crashConns at crashRate takes 4 s: the tests look for its middle in what it prints, not at the clock.
const (
	crashConns = 20_000
	crashRate  = "5k"
)

// rampOf is a run in the middle of whose ramp something is to happen.
func rampOf(t *testing.T) *child {
	t.Helper()
	return start(t, command(t, "run", "--ips", "20", "--conns", "20k", "--rate", crashRate, "-o", "rec.json",
		"--html", "page.html", "--endpoints", "ep.csv"))
}

// nextRunWorks is a small run after something went wrong.
func nextRunWorks(t *testing.T) {
	t.Helper()
	cmd := command(t, "run", "--conns", "1k", "-o", "rec.json")
	finish(t, cmd).exits(t, exitDone)
	checkCounts(t, readOne(t, cmd.Dir+"/rec.json"), 1000)
}

// only checks which files a run left in its directory.
func only(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("the run left %v in its directory, want %v", got, names)
	}
}

func TestARunLeavesTheHostAsItWas(t *testing.T) {
	leavesNoTrace(t, func(t *testing.T) {
		cmd := command(t, "run", "--conns", "5k", "-o", "rec.json")
		finish(t, cmd).exits(t, exitDone)
		only(t, cmd.Dir, "rec.json")
	})
	leavesNoTrace(t, func(t *testing.T) {
		connprof(t, "run", "--conns", "2k", "--ipv6").exits(t, exitDone)
	})
	leavesNoTrace(t, func(t *testing.T) {
		connprof(t, "run", "--conns", "2k", "--no-profile").exits(t, exitDone)
	})
}

func TestASignalEndsTheRampAndAccountsForWhatIsUp(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			leavesNoTrace(t, func(t *testing.T) {
				c := rampOf(t)
				c.untilUp(t, crashConns)
				c.signal(t, s)
				r := c.wait(t)
				whole := readRecording(t, c.cmd.Dir+"/rec.json")
				rec := onlyOne(t, whole)
				up := rec.Load.Established
				r.complains(t, exitFailed, "interrupted", strconv.Itoa(up)+" of 20000")
				says(t, "stdout", r.stdout, "Client endpoints", "tcp_sock", "interrupted")
				if up <= 0 || up >= crashConns || rec.Load.Failed != 0 || whole.Interrupted == "" {
					t.Errorf("%d up, %d failed, interrupted %q", up, rec.Load.Failed, whole.Interrupted)
				}
				holds(t, check.Endpoints(rec, kernel.RoleClient, up), check.Endpoints(rec, kernel.RoleServer, up))
				only(t, c.cmd.Dir, "ep.csv", "page.html", "rec.json")
			})
			nextRunWorks(t)
		})
	}
}

func TestASecondSignalSkipsTheAccount(t *testing.T) {
	leavesNoTrace(t, func(t *testing.T) {
		c := rampOf(t)
		c.untilUp(t, crashConns)
		c.signal(t, syscall.SIGSTOP) // so that it gets both before it can act on the first
		c.signal(t, syscall.SIGINT)
		c.signal(t, syscall.SIGTERM)
		c.signal(t, syscall.SIGCONT)
		r := c.wait(t)
		r.complains(t, exitFailed, "aborted")
		if r.stdout != "" {
			t.Errorf("an account was printed: %v", r)
		}
		only(t, c.cmd.Dir)
	})
	nextRunWorks(t)
}

func TestASignalBeforeTheFirstConnection(t *testing.T) {
	leavesNoTrace(t, func(t *testing.T) {
		c := rampOf(t)
		c.until(t, "the load's processes start", func() bool { return c.worker("") != 0 })
		c.signal(t, syscall.SIGINT)
		r := c.wait(t)
		r.complains(t, exitFailed, "interrupted", "of 20000")
	})
	nextRunWorks(t)
}

func TestASignalEndsTheHold(t *testing.T) {
	leavesNoTrace(t, func(t *testing.T) {
		c := start(t, command(t, "run", "--conns", "2k", "--hold", "1h", "-o", "rec.json"))
		c.until(t, "the account", func() bool { return strings.Contains(c.stdout.String(), "Call paths") })
		c.signal(t, syscall.SIGINT)
		r := c.wait(t).exits(t, exitDone)
		says(t, "stderr", r.stderr, "held for", "all 2000 connections are still up")
		checkCounts(t, readOne(t, c.cmd.Dir+"/rec.json"), 2000)
	})
}

// TestTheTracesOfARunAreSeen keeps leavesNoTrace honest: it looks at what a run makes while the run is up.
func TestTheTracesOfARunAreSeen(t *testing.T) {
	before := passing(t)
	c := rampOf(t)
	c.untilUp(t, crashConns)
	during := passing(t)
	for _, kind := range []string{"process ", "network namespace ", "BPF program ", "BPF map "} {
		isNew := func(trace string) bool { return strings.HasPrefix(trace, kind) && !before[trace] }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(during)), isNew) {
			t.Errorf("a run that is up has no %s", kind)
		}
	}
	c.signal(t, syscall.SIGINT)
	c.wait(t)
}

// moments are when a run is killed, each told from what can be seen of it.
var moments = []struct {
	name string
	args []string
	come func(c *child) bool
}{
	{"at once", []string{"--rate", crashRate}, func(*child) bool { return true }},
	{"as the load starts", []string{"--rate", crashRate}, func(c *child) bool { return c.worker("") != 0 }},
	{"before the first connection", []string{"--rate", crashRate},
		func(c *child) bool { return strings.Contains(c.stderr.String(), "walk: iterator") }},
	{"in the ramp", []string{"--rate", crashRate}, func(c *child) bool { up, _ := c.up(crashConns); return up > 0 }},
	{"in the hold", []string{"--hold", "1h"},
		func(c *child) bool { return strings.Contains(c.stdout.String(), "Call paths") }},
}

func TestAKilledRunLeavesNothingBehind(t *testing.T) {
	for _, m := range moments {
		t.Run(m.name, func(t *testing.T) {
			leavesNoTrace(t, func(t *testing.T) {
				args := append([]string{"run", "--conns", "20k", "-o", "rec.json", "--endpoints", "ep.csv"}, m.args...)
				c := start(t, command(t, args...))
				c.until(t, m.name, func() bool { return m.come(c) })
				c.signal(t, syscall.SIGKILL)
				c.wait(t)
				if m.name == "in the hold" {
					only(t, c.cmd.Dir, "rec.json") // the list is not whole before the run is
				} else {
					only(t, c.cmd.Dir)
				}
			})
			nextRunWorks(t)
		})
	}
}

func TestTheDeathOfALoadProcessIsReported(t *testing.T) {
	for _, role := range []string{"server", "client"} {
		t.Run(role, func(t *testing.T) {
			leavesNoTrace(t, func(t *testing.T) {
				c := rampOf(t)
				c.untilUp(t, crashConns)
				if err := syscall.Kill(c.worker(role), syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				c.wait(t).complains(t, exitFailed, "the load "+role+" ended", "killed", "of 20000")
				if rec := readRecording(t, c.cmd.Dir+"/rec.json"); !strings.Contains(rec.Interrupted, role) {
					t.Errorf("the recording says interrupted: %q", rec.Interrupted)
				}
			})
			nextRunWorks(t)
		})
		t.Run(role+" in the hold", func(t *testing.T) {
			leavesNoTrace(t, func(t *testing.T) {
				c := start(t, command(t, "run", "--conns", "2k", "--hold", "1h", "-o", "rec.json"))
				c.until(t, "the account", func() bool { return strings.Contains(c.stdout.String(), "Call paths") })
				if err := syscall.Kill(c.worker(role), syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				c.wait(t).complains(t, exitFailed, "held", "the load "+role+" ended", "killed")
				checkCounts(t, readOne(t, c.cmd.Dir+"/rec.json"), 2000)
			})
		})
	}
}
