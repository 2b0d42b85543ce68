package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
)

// betweenConns is how many connections the large runs between hosts open.
func betweenConns() int {
	if testing.Short() { // on an emulated CPU
		return 6000
	}
	return 100_000
}

func TestRunsBetweenTwoHosts(t *testing.T) {
	p, ok := newPair(t)
	if !ok {
		return
	}
	p.netup(t, "10.79.1.1/16", "fd79::1:1/64")
	conns := betweenConns()
	t.Run("20 addresses to 1 port", func(t *testing.T) { p.large(t, 20, 1, conns) })
	t.Run("1 address to 20 ports", func(t *testing.T) { p.large(t, 1, 20, conns) })
	for _, scenario := range []string{"hello", "unread", "unread-client", "sendfile", "half-closed"} {
		t.Run(scenario, func(t *testing.T) { p.scenario(t, scenario) })
	}
	t.Run("IPv6", p.overIPv6)
	t.Run("beside sockets of others", p.besideOthers)
	t.Run("without a profile", p.withoutProfile)
	t.Run("by tracepoints", func(t *testing.T) {
		serve := p.serve(t, "--once", "--hooks", "tracepoint")
		run := p.run(t, "--ips", "20", "--conns", "2k", "--hooks", "tracepoint")
		run.wait(t).exits(t, exitDone)
		serve.wait(t).exits(t, exitDone)
		rec := readRecording(t, run.cmd.Dir+"/rec.json")
		checkBetween(t, rec, 2000)
		client, server := bothEnds(t, rec)
		for _, h := range slices.Concat(client.Hooks, server.Hooks) {
			if h.Kind != "tracepoint" && h.Name != "walk" {
				t.Errorf("hook %+v, want a tracepoint", h)
			}
		}
	})
	t.Run("one after the other", func(t *testing.T) {
		serve := p.serve(t)
		for range 3 {
			p.nextRun(t)
		}
		serve.ends(t, syscall.SIGTERM).exits(t, exitDone)
	})
}

// large is one of the two schemes, held until the kernel's own list of sockets has been read.
func (p pair) large(t *testing.T, ips, ports, conns int) *recording.Recording {
	t.Helper()
	serve := p.serve(t, "--once", "-o", "server.json")
	run := p.run(t, "--ips", fmt.Sprint(ips), "--ports", fmt.Sprint(ports), "--conns", fmt.Sprint(conns), "--hold", "1h")
	run.holding(t)
	near, far := p.listed(t, ports)
	if near[tcpEstablished] != conns || far[tcpEstablished] != conns || far[tcpListen] != ports {
		t.Errorf("the kernel lists %v and %v, want %d connections and %d listeners", near, far, conns, ports)
	}
	r := run.ends(t, syscall.SIGINT).exits(t, exitDone)
	says(t, "stderr", r.stderr, "held for", fmt.Sprintf("all %d connections are still up", conns))
	s := serve.wait(t).exits(t, exitDone)
	says(t, "serve", s.stdout, fmt.Sprintf("session 1 is over: %d connections accepted and accounted for", conns),
		"wrote server.json")
	p.gone(t)
	rec, kept := readRecording(t, run.cmd.Dir+"/rec.json"), readRecording(t, serve.cmd.Dir+"/server.json")
	checkBetween(t, rec, conns)
	checkServers(t, kept, rec, conns)
	client, server := bothEnds(t, rec)
	if client.Load.ClientAddresses != ips || client.Load.ServerPorts != ports {
		t.Errorf("the recording has %d addresses and %d ports", client.Load.ClientAddresses, client.Load.ServerPorts)
	}
	holds(t, check.Spread(client, ips, conns), check.Listeners(server, ports))
	t.Logf("%.0f connections/s, %+.4f of the slab unexplained, %d and %d probes skipped", client.Load.ConnectsPerSecond,
		client.Reconcile.UnexplainedRatio, client.Losses.RecursionMisses, server.Losses.RecursionMisses)
	return rec
}

// bothEnds are the two machines of a run between two hosts.
func bothEnds(t *testing.T, rec *recording.Recording) (client, server *recording.Machine) {
	t.Helper()
	client, server, err := check.Two(rec)
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

// checkBetween checks the recording of a run between two hosts on one kernel: each connection is there at both ends, for the
// trace and for the walk.
func checkBetween(t *testing.T, rec *recording.Recording, n int) {
	t.Helper()
	holds(t, check.IdleBetween(rec, n), check.OneKernel(rec))
}

// besideOthers has a connection from the first of the local ports that a run would take. The bind bucket of that port is none
// of the run's allocations.
func (p pair) besideOthers(t *testing.T) {
	localPorts := func(from, to int) {
		inside(t, p.near, func() error {
			return os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", fmt.Appendf(nil, "%d %d", from, to), 0)
		})
	}
	serve := p.serve(t, "--once")
	localPorts(1024, 1024)
	p.calls(t) // and says nothing
	localPorts(1024, 65535)
	run := p.run(t, "--ips", "1", "--conns", "2k")
	run.wait(t).exits(t, exitDone)
	serve.wait(t).exits(t, exitDone)
	checkBetween(t, readRecording(t, run.cmd.Dir+"/rec.json"), 2000)
}

// checkEnds checks what is so in every scenario.
func checkEnds(t *testing.T, rec *recording.Recording, n int) {
	t.Helper()
	holds(t, check.Between(rec, n), check.OneKernel(rec))
}

// checkServers holds the recording that a serve has kept against what the run made of it.
func checkServers(t *testing.T, kept, joint *recording.Recording, n int) {
	t.Helper()
	own := onlyOne(t, kept)
	_, sent := bothEnds(t, joint)
	if own.Load.End != kernel.RoleServer || own.Load.Established != n {
		t.Errorf("the server kept %+v", own.Load)
	}
	if slices.ContainsFunc(own.Endpoints, func(e recording.EndpointRow) bool { return e.Role == kernel.RoleClient }) {
		t.Errorf("the server's own recording has client endpoints: %+v", own.Endpoints)
	}
	a, b := established(t, own, kernel.RoleServer), established(t, sent, kernel.RoleServer)
	if a.Count != b.Count || a.PageBytes != b.PageBytes || a.BufferBytes != b.BufferBytes {
		t.Errorf("the server kept %+v and sent %+v", a, b)
	}
	if strings.Contains(strings.Join(append(kept.Command, joint.Command...), " "), serveToken) {
		t.Error("the token is in a recording")
	}
}

// scenario arranges 6,000 connections and looks at the states and queues of both ends.
func (p pair) scenario(t *testing.T, name string) {
	const conns, payload = 6000, 4096
	serve := p.serve(t, "--once")
	run := p.run(t, "--ips", "20", "--conns", fmt.Sprint(conns), "--scenario", name, "--payload", fmt.Sprint(payload))
	run.wait(t).exits(t, exitDone)
	serve.wait(t).exits(t, exitDone)
	p.gone(t)
	rec := readRecording(t, run.cmd.Dir+"/rec.json")
	checkEnds(t, rec, conns)
	client, server := bothEnds(t, rec)
	states := map[*recording.Machine]string{client: "ESTABLISHED", server: "ESTABLISHED"}
	if name == "half-closed" {
		states = map[*recording.Machine]string{client: "FIN_WAIT2", server: "CLOSE_WAIT"}
	}
	// What is queued is charged with the kernel's own overhead, and never with less than there is.
	queued := map[string]*recording.Machine{"unread": server, "unread-client": client, "sendfile": server}[name]
	for m, state := range states {
		if all := m.Load.UnreadBytes == conns*payload; all != (m == queued) {
			t.Errorf("%d bytes unread of %s endpoints in scenario %s, with %d sent to each", m.Load.UnreadBytes, m.End(), name, payload)
		}
		row := recording.EndpointRow{}
		for _, r := range m.Endpoints {
			if r.Role == m.End() && r.Count > row.Count {
				row = r
			}
		}
		if row.State != state || row.Count != conns {
			t.Errorf("%d %s endpoints in %s, want %d in %s", row.Count, m.End(), row.State, conns, state)
		}
		if full := row.BufferBytes >= conns*payload; full != (m == queued) {
			t.Errorf("%d buffer bytes of %s endpoints in scenario %s, with %d sent to each", row.BufferBytes, m.End(), name, payload)
		}
	}
}

func (p pair) overIPv6(t *testing.T) {
	serve := p.serve(t, "--once", "--listen", addressAt(farIP6, servePort))
	run := p.run(t, "--ips", "20", "--conns", "6k", "--ipv6", "--target", addressAt(farIP6, servePort))
	run.wait(t).exits(t, exitDone)
	serve.wait(t).exits(t, exitDone)
	p.gone(t)
	rec := readRecording(t, run.cmd.Dir+"/rec.json")
	checkEnds(t, rec, 6000)
	client, server := bothEnds(t, rec)
	holds(t, check.Spread(client, 20, 6000))
	for _, a := range slices.Concat(client.Addresses, server.Addresses) {
		if !strings.HasPrefix(a.Address, "fd79::") {
			t.Errorf("an address of the other family: %v", a.Address)
		}
	}
}

func (p pair) withoutProfile(t *testing.T) {
	serve := p.serve(t, "--once")
	run := p.run(t, "--ips", "20", "--conns", "20k", "--no-profile")
	run.wait(t).exits(t, exitDone)
	s := serve.wait(t).exits(t, exitDone)
	says(t, "serve", s.stdout, "20000 connections accepted")
	p.gone(t)
	client, server := bothEnds(t, readRecording(t, run.cmd.Dir+"/rec.json"))
	for _, m := range []*recording.Machine{client, server} {
		if m.Load.Established != 20_000 || m.Profiled() || m.Trace != nil || m.Reconcile != nil {
			t.Errorf("want 20,000 connections and no account: %+v, %+v", m.Load, m.Endpoints)
		}
	}
}
