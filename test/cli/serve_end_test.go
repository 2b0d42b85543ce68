package cli

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/netcfg"
	"github.com/connprof/connprof/test/check"
)

// The ends of runs between two hosts that do not end as planned. Each end says in one line what became of the other, and
// has a report of what there is; nothing is left, and a serve that is still there serves the next run.

const lostPeer = "lost the peer: "

// rampRate is slow enough for eight pairs of hosts at once on two processors.
const rampRate = "1k"

// ramping starts a run whose ramp takes 20 s, and waits until it is under way.
func (p pair) ramping(t *testing.T, args ...string) *child {
	t.Helper()
	run := p.run(t, append([]string{"--ips", "1", "--conns", "20k", "--rate", rampRate}, args...)...)
	run.untilUp(t, crashConns)
	return run
}

// held starts a run of 2,000 and waits until it holds them.
func (p pair) held(t *testing.T) *child {
	t.Helper()
	const conns = 2000
	run := p.run(t, "--ips", "1", "--conns", fmt.Sprint(conns), "--hold", "1h")
	p.reaches(t, run, conns)
	run.holding(t)
	if up, _ := run.up(conns); up != conns {
		t.Fatalf("%d of %d connections are held: %s", up, conns, run.stderr.String())
	}
	return run
}

// reaches waits until all connections of a run are up. When none comes up for a time in which a SYN has been sent again three
// times, the test tells what both hosts' kernels say of that.
func (p pair) reaches(t *testing.T, run *child, conns int) {
	t.Helper()
	const still = 8 * time.Second
	before, since, told := -1, time.Now(), false
	run.until(t, "all are up", func() bool {
		up, _ := run.up(conns)
		if up != before {
			before, since, told = up, time.Now(), false
		}
		if time.Since(since) > still && !told {
			told = true
			t.Logf("no connection in %v after %d of %d: on near %s; on far %s; softnet_stat\n%s", still, up, conns,
				networkOf(t, p.near), networkOf(t, p.far), softnet(t))
		}
		return up == conns || strings.Contains(run.stderr.String(), "wrote ")
	})
}

// networkOf is what a host's kernel says of its TCP: the sockets by state and port, and what of /proc/net/netstat is not 0.
func networkOf(t *testing.T, host *netcfg.Private) string {
	t.Helper()
	var text strings.Builder
	inside(t, host, func() error {
		for _, name := range []string{"tcp", "tcp6"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + name)
			if err != nil {
				return err
			}
			by := map[string]int{}
			for _, line := range strings.Split(string(b), "\n")[1:] {
				if f := strings.Fields(line); len(f) > 6 {
					by[fmt.Sprintf("state %s, queues %s, timer %s, retransmits %s", f[3], f[4], f[5][:2], f[6])]++
				}
			}
			fmt.Fprintf(&text, "%s %v; ", name, by)
		}
		for _, name := range []string{"netstat", "snmp"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + name)
			if err != nil {
				return err
			}
			lines := strings.Split(string(b), "\n")
			for i := 0; i+1 < len(lines); i += 2 {
				names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
				for j := 1; j < len(names) && j < len(values); j++ {
					if values[j] != "0" {
						fmt.Fprintf(&text, "%s%s %s, ", names[0], names[j], values[j])
					}
				}
			}
		}
		b, err := os.ReadFile("/proc/thread-self/net/dev")
		text.Write(b)
		return err
	})
	return text.String()
}

func softnet(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// clears checks that nothing is left of what f has started.
func (p pair) clears(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	leavesNoTrace(t, func(t *testing.T) {
		f(t)
		p.gone(t)
	})
}

// goesOn checks that a serve is there for the next run, and ends on request.
func (p pair) goesOn(t *testing.T, serve *child) {
	t.Helper()
	p.gone(t)
	p.nextRun(t)
	serve.ends(t, syscall.SIGTERM).exits(t, exitDone)
}

// oneEnd checks the recording of an end that has lost the other: it has what was up there, and says why it is alone.
func oneEnd(t *testing.T, path string, role kernel.Role) *recording.Machine {
	t.Helper()
	rec := readRecording(t, path)
	m := onlyOne(t, rec)
	if m.Load.End != role || !strings.Contains(rec.Interrupted, lostPeer) {
		t.Errorf("a recording of the %s end, interrupted %q", m.Load.End, rec.Interrupted)
	}
	return m
}

func TestASignalToEitherOfTwoHosts(t *testing.T) {
	p, ok := newPair(t)
	if !ok {
		return
	}
	t.Run("the run's ramp", func(t *testing.T) {
		p.clears(t, func(t *testing.T) {
			serve := p.serve(t)
			run := p.ramping(t)
			r := run.ends(t, syscall.SIGINT)
			rec := readRecording(t, run.cmd.Dir+"/rec.json")
			client, _ := bothEnds(t, rec)
			up := client.Load.Established
			r.complains(t, exitFailed, "interrupted", fmt.Sprintf("%d of 20000", up))
			if up <= 0 || up >= crashConns {
				t.Errorf("%d of %d connections up", up, crashConns)
			}
			checkUp(t, rec, up)
			serve.tells(t, "session 1 is over", fmt.Sprint(up))
			p.goesOn(t, serve)
		})
	})
	t.Run("the run's hold", func(t *testing.T) {
		p.clears(t, func(t *testing.T) {
			serve := p.serve(t)
			p.held(t).ends(t, syscall.SIGTERM).exits(t, exitDone)
			serve.tells(t, "session 1 is over", "2000")
			p.goesOn(t, serve)
		})
	})
	t.Run("the serve's ramp", func(t *testing.T) {
		p.clears(t, func(t *testing.T) {
			serve := p.serve(t, "-o", "server.json")
			run := p.ramping(t)
			s := serve.ends(t, syscall.SIGINT).exits(t, exitDone)
			run.wait(t).complains(t, exitFailed, "the server says: connprof serve was interrupted", "of 20000")
			rec := readRecording(t, run.cmd.Dir+"/rec.json")
			client, _ := bothEnds(t, rec)
			up := client.Load.Established
			if up <= 0 || up >= crashConns {
				t.Errorf("%d of %d connections up", up, crashConns)
			}
			checkUp(t, rec, up)
			says(t, "serve", s.stdout, "Server endpoints", fmt.Sprintf("session 1 failed with %d connections up: connprof serve was "+
				"interrupted", up))
			holds(t, check.Endpoints(readOne(t, serve.cmd.Dir+"/server-1.json"), kernel.RoleServer, up))
		})
	})
	t.Run("the serve's hold", func(t *testing.T) {
		p.clears(t, func(t *testing.T) {
			serve := p.serve(t)
			run := p.held(t)
			s := serve.ends(t, syscall.SIGINT).exits(t, exitDone)
			says(t, "serve", s.stdout, "session 1 ", "2000")
			run.wait(t).complains(t, exitFailed, "while the connections were held", lostPeer)
			checkBetween(t, readRecording(t, run.cmd.Dir+"/rec.json"), 2000)
		})
	})
	t.Run("two to the serve", func(t *testing.T) {
		p.clears(t, func(t *testing.T) {
			serve := p.serve(t, "-o", "server.json")
			run := p.ramping(t)
			serve.signal(t, syscall.SIGSTOP) // so that it gets both before it can act on the first
			serve.signal(t, syscall.SIGINT)
			serve.signal(t, syscall.SIGTERM)
			s := serve.ends(t, syscall.SIGCONT).exits(t, exitDone)
			says(t, "serve", s.stdout, "session 1 failed", "aborted")
			only(t, serve.cmd.Dir)
			run.wait(t).complains(t, exitFailed, "of 20000")
		})
	})
}

func TestAKillOfEitherOfTwoHosts(t *testing.T) {
	p, ok := newPair(t)
	if !ok {
		return
	}
	t.Run("the run in its ramp", func(t *testing.T) {
		p.clears(t, func(t *testing.T) {
			serve := p.serve(t, "-o", "server.json")
			p.ramping(t).ends(t, syscall.SIGKILL)
			serve.tells(t, "session 1 failed", lostPeer, "closed the control connection")
			oneEnd(t, serve.cmd.Dir+"/server-1.json", kernel.RoleServer)
			p.goesOn(t, serve)
		})
	})
	t.Run("the run in its hold", func(t *testing.T) {
		p.clears(t, func(t *testing.T) {
			serve := p.serve(t, "-o", "server.json")
			p.held(t).ends(t, syscall.SIGKILL)
			serve.tells(t, "session 1 failed with 2000 connections up", "held", lostPeer)
			p.goesOn(t, serve)
		})
	})
	t.Run("the serve in the ramp", func(t *testing.T) {
		p.clears(t, func(t *testing.T) {
			serve := p.serve(t)
			run := p.ramping(t)
			serve.ends(t, syscall.SIGKILL)
			run.wait(t).complains(t, exitFailed, lostPeer, "closed the control connection", "this end only", "of 20000")
			oneEnd(t, run.cmd.Dir+"/rec.json", kernel.RoleClient)
		})
		again := p.serve(t)
		p.goesOn(t, again)
	})
	t.Run("the serve in the hold", func(t *testing.T) {
		p.clears(t, func(t *testing.T) {
			serve := p.serve(t)
			run := p.held(t)
			serve.ends(t, syscall.SIGKILL)
			run.wait(t).complains(t, exitFailed, "while the connections were held", lostPeer)
			checkBetween(t, readRecording(t, run.cmd.Dir+"/rec.json"), 2000)
		})
	})
	for _, role := range []string{"server", "client"} {
		t.Run("the load "+role, func(t *testing.T) {
			p.clears(t, func(t *testing.T) {
				serve := p.serve(t)
				run := p.ramping(t)
				victim := map[string]*child{"server": serve, "client": run}[role]
				if err := syscall.Kill(victim.worker(role), syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				run.wait(t).complains(t, exitFailed, "the load "+role+" ended", "killed", "of 20000")
				serve.tells(t, "session 1 ")
				p.goesOn(t, serve)
			})
		})
	}
}
