package cli

import (
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
)

// Networks that lose, delay or refuse what they should carry. The tests spend their time waiting: they do it together.

// cabled are tests of one network each.
type cabled struct {
	t   *testing.T
	all sync.WaitGroup
}

// over runs a test of one network beside the others, as many as there are: t.Parallel has no more than there are cores.
func (n *cabled) over(name string, test func(t *testing.T, p pair, c *cable)) {
	n.all.Go(func() { alone(n.t, name, test) })
}

func alone(t *testing.T, name string, test func(t *testing.T, p pair, c *cable)) {
	t.Run(name, func(t *testing.T) {
		if p, c, ok := newCabled(t); ok {
			test(t, p, c)
		}
	})
}

// silent is what both ends say of a network that has fallen silent.
const silent = "lost the peer: nothing came or went on the control connection for 10s"

func TestNetworksThatLoseAndDelay(t *testing.T) {
	alone(t, "loses a fiftieth", func(t *testing.T, p pair, c *cable) {
		serve := p.serve(t, "--once")
		c.lose(losing(1.0 / 50))
		run := p.run(t, "--ips", "1", "--conns", "3k")
		run.wait(t).exits(t, exitDone)
		serve.wait(t).exits(t, exitDone)
		checkEnds(t, readRecording(t, run.cmd.Dir+"/rec.json"), 3000)
	})
	alone(t, "takes 50 ms each way", func(t *testing.T, p pair, c *cable) {
		serve := p.serve(t, "--once")
		c.delay.Store(int64(50 * time.Millisecond))
		run := p.run(t, "--ips", "1", "--conns", "6k", "--scenario", "hello")
		run.wait(t).exits(t, exitDone)
		serve.wait(t).exits(t, exitDone)
		checkEnds(t, readRecording(t, run.cmd.Dir+"/rec.json"), 6000)
	})
}

func TestNetworksThatAreCut(t *testing.T) {
	n := &cabled{t: t}
	defer n.all.Wait()
	n.over("lets no SYN through to the data ports", func(t *testing.T, p pair, c *cable) {
		serve := p.serve(t)
		c.lose(synsTo(servePort+1, servePort+20))
		run := p.run(t, "--ips", "1", "--conns", "3k")
		run.wait(t).complains(t, exitFailed, "0 of 3000", "a firewall that drops SYNs is the likely cause",
			"let TCP ports 8091 of "+farIP+" through from "+nearIP)
		client, server := bothEnds(t, readRecording(t, run.cmd.Dir+"/rec.json"))
		if client.Load.Established != 0 || server.Load.Established != 0 {
			t.Errorf("want no connection: %+v, %+v", client.Load, server.Load)
		}
		serve.tells(t, "session 1 is over: 0 connections")
		c.lose(losing(0))
		p.goesOn(t, serve)
	})
	n.over("lets no SYN through to the control port", func(t *testing.T, p pair, c *cable) {
		c.lose(synsTo(servePort, servePort))
		p.run(t, "--ips", "1", "--conns", "3k").wait(t).refuses(t, exitFailed, "no answer within 10s",
			"does no firewall block TCP port 8090")
	})
	n.over("is cut in the ramp", func(t *testing.T, p pair, c *cable) {
		serve := p.serve(t, "-o", "server.json")
		run := p.ramping(t)
		c.cut()
		p.bothLose(t, serve, run)
		c.lose(losing(0))
		p.goesOn(t, serve)
	})
	n.over("is cut in the account", func(t *testing.T, p pair, c *cable) {
		serve := p.serve(t, "-o", "server.json")
		run := p.run(t, "--ips", "1", "--conns", "6k")
		run.until(t, "all are up", func() bool { up, _ := run.up(6000); return up == 6000 })
		c.cut()
		near, far := p.bothLose(t, serve, run)
		if near.Load.Established != 6000 || far.Load.Established != 6000 {
			t.Errorf("the ends account for %d and %d of 6,000 connections", near.Load.Established, far.Load.Established)
		}
	})
	n.over("is cut in the hold", func(t *testing.T, p pair, c *cable) {
		serve := p.serve(t)
		run := p.held(t)
		c.cut()
		run.wait(t).complains(t, exitFailed, "while the connections were held", silent)
		serve.tells(t, "session 1 failed with 2000 connections up: while the connections were held: "+silent)
		checkEnds(t, readRecording(t, run.cmd.Dir+"/rec.json"), 2000)
		c.lose(losing(0))
		p.goesOn(t, serve)
	})
	n.over("loses the control connection alone", func(t *testing.T, p pair, c *cable) {
		serve := p.serve(t, "-o", "server.json")
		run := p.ramping(t)
		c.lose(control)
		p.bothLose(t, serve, run)
		c.lose(losing(0))
		p.goesOn(t, serve)
	})
	n.over("has its near end down", func(t *testing.T, p pair, c *cable) {
		serve := p.serve(t, "-o", "server.json")
		run := p.ramping(t)
		inside(t, p.near, func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return netlink.LinkSetDown(link)
		})
		p.bothLose(t, serve, run)
	})
	n.over("is gone", func(t *testing.T, p pair, c *cable) {
		serve := p.serve(t, "-o", "server.json")
		run := p.ramping(t)
		c.pull()
		p.bothLose(t, serve, run)
	})
	n.all.Go(func() {
		t.Run("is virtual and deleted", func(t *testing.T) {
			p, ok := newPair(t)
			if !ok {
				return
			}
			serve := p.serve(t, "-o", "server.json")
			run := p.ramping(t)
			inside(t, p.far, func() error {
				link, err := netlink.LinkByName("eth0")
				if err != nil {
					return err
				}
				return netlink.LinkDel(link)
			})
			p.bothLose(t, serve, run)
			serve.ends(t, syscall.SIGTERM).exits(t, exitDone)
		})
	})
}

// bothLose waits until both ends have noticed that they hear nothing of each other any more. Each says so in one line and
// has an account of its own end.
func (p pair) bothLose(t *testing.T, serve, run *child) (near, far *recording.Machine) {
	t.Helper()
	r := run.wait(t)
	r.complains(t, exitFailed, silent, "the report has this end only")
	if t.Failed() {
		t.Logf("the run says:\n%s\non near %s; on far %s; softnet_stat\n%s", r.stderr, networkOf(t, p.near), networkOf(t, p.far), softnet(t))
	}
	serve.tells(t, "session 1 failed with ", silent)
	near = oneEnd(t, run.cmd.Dir+"/rec.json", kernel.RoleClient)
	far = oneEnd(t, serve.cmd.Dir+"/server-1.json", kernel.RoleServer)
	for _, m := range []*recording.Machine{near, far} { // beside those whose handshake was cut off
		n, _ := check.Objects(m, m.End(), kernel.StateEstablished.String())
		if n != m.Load.Established || n == 0 {
			t.Errorf("the %s's report has %d endpoints, and %d connections up", m.End(), n, m.Load.Established)
		}
	}
	says(t, "the run's report", run.stdout.String(), "Client endpoints", "tcp_sock")
	says(t, "the serve's report", serve.stdout.String(), "Server endpoints", "tcp_sock")
	if n := strings.Count(serve.stdout.String(), "session 1 failed"); n != 1 {
		t.Errorf("serve says it %d times:\n%s", n, serve.stdout.String())
	}
	return near, far
}
