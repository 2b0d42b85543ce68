package cli

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// killConns is as large a run as is killed; killWithin is the time in which it is killed: on a machine of its own about
// two thirds of the moments lie in the ramp, the others before it and in the account.
const (
	killConns  = "50k"
	killWithin = 1500 * time.Millisecond
)

// Whatever is killed, whenever: nothing is left, and the next run works.
func TestRandomKillsLeaveNothingBehind(t *testing.T) {
	moments := 18
	if testing.Short() { // on an emulated CPU
		moments = 6
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	victims := []string{"profiler", "client", "server"}
	for i := range moments {
		victim, after := victims[i%len(victims)], time.Duration(random.Int64N(int64(killWithin)))
		t.Run(fmt.Sprintf("%s after %v", victim, after), func(t *testing.T) {
			leavesNoTrace(t, func(t *testing.T) {
				c := start(t, command(t, "run", "--ips", "20", "--conns", killConns, "-o", "rec.json"))
				time.Sleep(after)
				pid := c.pid()
				if victim != "profiler" {
					pid = c.worker(victim)
				}
				if pid != 0 { // 0: it has not started yet, or has ended
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
				c.wait(t)
			})
		})
	}
	nextRunWorks(t)
}
