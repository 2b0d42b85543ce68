package cli

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/remote/peer"
	"github.com/connprof/connprof/test/check"
)

// three are two connecting hosts, each with a cable of its own to the accepting one.
func three(t *testing.T) (first, second pair, ok bool) {
	t.Helper()
	if first, ok = newPair(t); !ok {
		return first, second, false
	}
	second = pair{hosts: hosts{near: newHost(t, moreSockets), far: first.far}, journal: first.journal + ".second"}
	if err := second.connect(t, "eth1"); err != nil {
		t.Fatal(err)
	}
	inside(t, second.near, func() error { return addAddresses("eth1", "10.80.0.1/16") })
	inside(t, second.far, func() error { return addAddresses("eth1", "10.80.0.2/16") })
	second.ready(t, "eth1", "eth1")
	return first, second, true
}

func TestTwoHostsAtOnceAreServedOnPortsOfTheirOwn(t *testing.T) {
	first, second, ok := three(t)
	if !ok {
		return
	}
	first.netup(t, "10.79.1.1/16")
	second.connprof(t, second.journal, "netup --dev eth1 --journal JOURNAL --ips 20 --cidr 10.80.1.1/16").exits(t, exitDone)
	const ports = 3
	conns := betweenConns()
	serve := first.serve(t, "--ports", fmt.Sprint(ports+2), "-o", "server.json")
	args := []string{"--conns", fmt.Sprint(conns), "--rate", "15k", "--hold", "1h"}
	runs := []*child{first.run(t, append(args, "--ips", "20")...)}
	serve.tells(t, "session 1 from "+nearIP)
	runs = append(runs, second.run(t, append(args, "--ips", "20", "--ports", fmt.Sprint(ports), "--target",
		addressAt("10.80.0.2", servePort))...))
	for i, p := range []pair{first, second} {
		runs[i].holding(t)
		if near, _ := p.listed(t, ports+2); near[tcpEstablished] != conns || len(near) != 1 {
			t.Errorf("host %d has sockets by state %v, want %d connections", i+1, near, conns)
		}
	}
	_, far := first.listed(t, ports+2)
	if far[tcpEstablished] != 2*conns || far[tcpListen] != 1+ports {
		t.Errorf("the accepting host has sockets by state %v, want %d connections and %d listeners", far, 2*conns, 1+ports)
	}
	// Four of its five ports are taken: a third run can have one of them, and not two.
	first.run(t, "--ips", "1", "--conns", "1k", "--ports", "2").wait(t).refuses(t, exitFailed, "refuses",
		"no 2 consecutive free data ports", "--ports")
	third := first.run(t, "--ips", "1", "--conns", "1k")
	third.wait(t).exits(t, exitDone)
	checkOwn(t, third, 1000, 1)
	for i, run := range runs {
		run.ends(t, syscall.SIGINT).exits(t, exitDone)
		checkOwn(t, run, conns, []int{1, ports}[i])
		serve.tells(t, fmt.Sprintf("session %d is over: %d connections", i+1, conns))
	}
	first.gone(t)
	second.gone(t)
	first.goesOn(t, serve)
}

// checkOwn checks that a run has its own endpoints at both ends, and nobody else's.
func checkOwn(t *testing.T, run *child, conns, ports int) {
	t.Helper()
	// What the kernel's memory has grown by is the other run's, too; the counts are not.
	client, server := bothEnds(t, readRecording(t, run.cmd.Dir+"/rec.json"))
	holds(t, check.Opens(client, conns, kernel.RoleClient), check.Opens(server, conns, kernel.RoleServer),
		check.Endpoints(client, kernel.RoleClient, conns), check.Endpoints(server, kernel.RoleServer, conns),
		check.Listeners(server, ports))
}

func TestOneSessionTooManyIsRefused(t *testing.T) {
	p, ok := newPair(t)
	if !ok {
		return
	}
	const most = 4
	serve := p.serve(t)
	var links []*peer.Link
	for range most {
		_, link := p.admitted(t)
		if err := link.Send(aRequest()); err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Await[*peer.Ready](link, childLimit, peer.Unexpected); err != nil {
			t.Fatal(err)
		}
		links = append(links, link)
	}
	p.run(t, "--ips", "1", "--conns", "1k").wait(t).refuses(t, exitFailed, "refuses", "4 sessions already", "try again")
	serve.tells(t, "refused "+nearIP, "4 sessions already")
	// Nobody in those sessions has begun: there is nothing to wait for.
	serve.ends(t, syscall.SIGINT).exits(t, exitDone)
	for _, link := range links {
		var refusal *peer.RefusedError
		if _, err := peer.Await[*peer.Begun](link, childLimit, peer.Unexpected); !errors.As(err, &refusal) ||
			!strings.Contains(refusal.Reason, "interrupted") {
			t.Errorf("the client was told %v, want that serve was interrupted", err)
		}
	}
}
