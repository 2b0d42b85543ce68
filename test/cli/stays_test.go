package cli

import (
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
)

// closedConns is many enough for one object of a hundred connections to be more than what other programs' sockets that are in no
// table come to.
const closedConns = 3_000

// Other programs may open and close what they like: the test holds the caches that only TCP uses, whose objects in listed sockets are
// taken out whoever has them.
func TestNothingOfTCPStaysAfterTheClose(t *testing.T) {
	cmd := command(t, "run", "--conns", strconv.Itoa(closedConns), "--after-close=0s,1s", "-o", "rec.json")
	r := finish(t, cmd).exits(t, exitDone)
	m := readOne(t, cmd.Dir+"/rec.json")
	holds(t, check.Closed(m, closedConns, 3))
	holds(t, check.Stays(m, func(c *recording.StayCache) bool { return check.OnlyTCPs[c.Cache] }))
	holds(t, check.TimeWait(m, closedConns))
	says(t, "stdout", r.stdout, "What stays", "after the close", "before RCU", "TIME_WAIT", "tw_sock_TCP")
}

func TestNothingOfTCPGrowsWithTheCycles(t *testing.T) {
	const cycles = 3
	cmd := command(t, "run", "--conns", strconv.Itoa(closedConns), "--cycles", strconv.Itoa(cycles), "-o", "rec.json")
	r := finish(t, cmd).exits(t, exitDone)
	m := readOne(t, cmd.Dir+"/rec.json")
	holds(t, check.Cycles(m, cycles, closedConns, func(c *recording.StayCache) bool { return check.OnlyTCPs[c.Cache] }))
	says(t, "stdout", r.stdout, "What grew", "cycle 2", "cycle 3", "cgroups")
	says(t, "stderr", r.stderr, "cycle 2 of 3", "cycle 3 of 3")
}

// A signal ends the wait, and not the account.
func TestASignalEndsTheWaitForWhatStays(t *testing.T) {
	cmd := command(t, "run", "--conns", "100", "--after-close=0s,20s", "-o", "rec.json")
	c := start(t, cmd)
	c.until(t, "all are closed", func() bool { return strings.Contains(c.stderr.String(), "looking at what stays") })
	c.signal(t, syscall.SIGINT)
	c.wait(t).exits(t, exitDone)
	if s := readOne(t, cmd.Dir+"/rec.json").Stays; s == nil || s.Closed != 100 || len(s.Moments) != 2 {
		t.Errorf("%+v, want 100 closed and the looks until the signal", s)
	}
}
