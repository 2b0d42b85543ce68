package cli

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/experiment"
	"github.com/connprof/connprof/internal/remote/peer"
)

// aRequest is one that a serve accepts, from an address that near does not have.
func aRequest() *peer.Request {
	return &peer.Request{Host: "near", Program: "test", Clients: []netip.Addr{netip.MustParseAddr("10.79.9.9")}, Connections: 1000,
		Ports: 1, Scenario: "idle", Payload: 4096}
}

// requests are those of somebody who knows the token and asks for too much.
func (p pair) requests(t *testing.T, serve *child) {
	many := make([]netip.Addr, peer.MaxClients)
	for i := range many { // no two of them follow each other
		many[i] = netip.AddrFrom4([4]byte{10, 80, byte(i), 1})
	}
	for name, change := range map[string]func(*peer.Request){
		"two thousand million connections": func(q *peer.Request) { q.Connections, q.Exact = peer.MaxConnections, true },
		"a thousand ports":                 func(q *peer.Request) { q.Ports = experiment.MaxPorts },
		"a payload beyond every buffer":    func(q *peer.Request) { q.Payload = 1 << 30 },
		"a payload beyond the receiver's":  func(q *peer.Request) { q.Scenario, q.Payload = "unread", 8<<20 },
		"an unknown scenario":              func(q *peer.Request) { q.Scenario = "time-wait" },
		"addresses of the other family":    func(q *peer.Request) { q.Clients = []netip.Addr{netip.MustParseAddr("fd79::9")} },
	} {
		t.Run(name, func(t *testing.T) {
			_, link := p.admitted(t)
			wanted := aRequest()
			change(wanted)
			if err := link.Send(wanted); err != nil {
				t.Fatal(err)
			}
			var refusal *peer.RefusedError
			if _, err := peer.Await[*peer.Ready](link, time.Minute, peer.Unexpected); !errors.As(err, &refusal) {
				t.Errorf("want a refusal, not %v", err)
			}
			serve.tells(t, refusal.Reason[:min(len(refusal.Reason), 30)])
		})
	}
	for name, change := range map[string]func(*peer.Request){
		"as many as it can hold": func(q *peer.Request) { q.Connections, q.Ports, q.Clients = peer.MaxConnections, 20, many },
		"scattered addresses":    func(q *peer.Request) { q.Clients = many },
	} {
		t.Run(name, func(t *testing.T) {
			_, link := p.admitted(t)
			wanted := aRequest()
			change(wanted)
			if err := link.Send(wanted); err != nil {
				t.Fatal(err)
			}
			ready, err := peer.Await[*peer.Ready](link, time.Minute, peer.Unexpected)
			if err != nil {
				t.Fatal(err)
			}
			if ready.Connections > wanted.Connections || wanted.Ports == 20 && ready.Capped == "" {
				t.Errorf("it is ready for %+v", ready)
			}
			link.Close()
			serve.tells(t, "session", "failed with 0 connections up", lostPeer)
		})
	}
}

// Before Linux 6.7 a socket has 20 KiB for its filter and all other options. Since 6.8 each namespace has a number of its own.
func TestMoreNetworksThanAFilterHasRoomForAreRefused(t *testing.T) {
	p, ok := newPair(t)
	if !ok {
		return
	}
	inside(t, p.far, func() error {
		err := os.WriteFile("/proc/sys/net/core/optmem_max", []byte("20480"), 0)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // the host's counts
		}
		return err
	})
	serve := p.serve(t)
	_, link := p.admittedAt(t, farIP6)
	plan := aRequest()
	plan.Clients = nil
	for i := range peer.MaxClients {
		plan.Clients = append(plan.Clients, netip.AddrFrom16([16]byte{0xfd, byte(i), 15: 1}))
	}
	if err := link.Send(plan); err != nil {
		t.Fatal(err)
	}
	var refusal *peer.RefusedError
	_, err := peer.Await[*peer.Ready](link, time.Minute, peer.Unexpected)
	if !errors.As(err, &refusal) {
		t.Fatalf("want a refusal, not %v", err)
	}
	says(t, "the refusal", refusal.Reason, "socket filter for 254 addresses", "cannot allocate memory", "net.core.optmem_max")
	serve.tells(t, "session 1 failed with 0 connections up", "net.core.optmem_max")
	p.goesOn(t, serve)
}

// The listeners answer the announced addresses, and nobody else: not by a handshake, and not by a reset.
func TestADataPortAnswersTheAnnouncedAddressesOnly(t *testing.T) {
	p, ok := newPair(t)
	if !ok {
		return
	}
	inside(t, p.near, func() error { return addAddresses("eth0", "10.79.0.77/16") })
	serve := p.serve(t, "--once")
	run := p.held(t) // from near's first address
	knock := func(from string) error {
		var err error
		inside(t, p.near, func() error {
			at := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from + ":0"))
			d := net.Dialer{LocalAddr: at, Timeout: 2500 * time.Millisecond}
			var c net.Conn
			if c, err = d.Dial("tcp", addressAt(farIP, servePort+1)); err == nil {
				c.Close()
			}
			return nil
		})
		return err
	}
	var silence net.Error
	if err := knock("10.79.0.77"); !errors.As(err, &silence) || !silence.Timeout() {
		t.Errorf("an address that was not announced got an answer: %v", err)
	}
	if _, far := p.listed(t, 1); far[tcpEstablished] != 2000 || len(far) != 2 {
		t.Errorf("the accepting host has sockets by state %v, want the run's 2,000 and a listener", far)
	}
	if err := knock(nearIP); err != nil { // so that the silence is not the network's
		t.Errorf("the announced address got no answer: %v", err)
	}
	run.ends(t, syscall.SIGINT).exits(t, exitDone)
	serve.wait(t).exits(t, exitDone)
	p.gone(t)
}
