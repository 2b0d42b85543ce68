//go:build vm

package cli

import (
	"strconv"
	"testing"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
)

// Where nothing else runs, no cache of endpoints keeps anything, merged or not.
func TestNothingStaysOnAKernelOfItsOwn(t *testing.T) {
	cmd := command(t, "run", "--conns", strconv.Itoa(closedConns), "--after-close=0s,1s,5s", "-o", "rec.json")
	finish(t, cmd).exits(t, exitDone)
	m := readOne(t, cmd.Dir+"/rec.json")
	holds(t, check.Closed(m, closedConns, 4))
	holds(t, check.Stays(m, ofEndpoints))
}

func TestNothingGrowsOnAKernelOfItsOwn(t *testing.T) {
	const cycles = 4
	cmd := command(t, "run", "--conns", strconv.Itoa(closedConns), "--cycles", strconv.Itoa(cycles), "-o", "rec.json")
	finish(t, cmd).exits(t, exitDone)
	holds(t, check.Cycles(readOne(t, cmd.Dir+"/rec.json"), cycles, closedConns, ofEndpoints))
}

func ofEndpoints(c *recording.StayCache) bool { return len(c.Types) > 0 }
