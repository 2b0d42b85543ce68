package remote

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/connprof/connprof/internal/remote/peer"
)

func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }

// unheard is a connection that says nothing.
func unheard(t *testing.T) net.Conn {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	return a
}

// held is how many places each address has.
func (s strangers) held() map[netip.Addr]int {
	held := map[netip.Addr]int{}
	for _, other := range s {
		held[other.from]++
	}
	return held
}

func TestStrangersAreFewAtATime(t *testing.T) {
	var s strangers
	for i := range 1000 { // ten attempts from each of a hundred
		s.add(unheard(t), address(i%100))
		for from, n := range s.held() {
			if n > maxStrangersAddress {
				t.Fatalf("%s has %d places", from, n)
			}
		}
		if len(s) > maxStrangers {
			t.Fatalf("%d strangers are let in", len(s))
		}
	}
	if len(s) != maxStrangers {
		t.Errorf("%d strangers are let in, want %d", len(s), maxStrangers)
	}
	for _, caller := range slices.Clone(s) {
		if !s.remove(caller) || s.remove(caller) {
			t.Error("a stranger is not there, or twice")
		}
	}
	if len(s) != 0 {
		t.Errorf("%d are left", len(s))
	}
}

func TestTheOldestStrangerMakesRoom(t *testing.T) {
	var s strangers
	first, gone := s.add(unheard(t), address(1))
	for range maxStrangersAddress - 1 {
		_, gone = s.add(unheard(t), address(1))
	}
	if gone != nil {
		t.Fatal("somebody had to go where there was room")
	}
	if _, gone = s.add(unheard(t), address(1)); gone != first {
		t.Errorf("of an address that has its part of the places %v has to go, want its first caller", gone)
	}
	if _, err := first.conn.Read(make([]byte, 1)); err == nil {
		t.Error("it is not hung up on")
	}
	// An address with few callers takes its place from one with many.
	second := s[0]
	alone, _ := s.add(unheard(t), address(2))
	for i := range maxStrangers - maxStrangersAddress - 1 {
		s.add(unheard(t), address(100+i))
	}
	if _, gone = s.add(unheard(t), address(3)); gone != second || !slices.Contains(s, alone) {
		t.Errorf("%v has to go, want the oldest of the address with the most callers", gone)
	}
}

// Whoever knows the token gets in, however many are there that say nothing.
func TestSilentCallersKeepNobodyOut(t *testing.T) {
	text := peer.NewToken()
	s, _ := quietServer(ServeOptions{Token: text})
	var err error
	if s.peer, err = peer.NewServer(text); err != nil {
		t.Fatal(err)
	}
	client, err := peer.NewClient(text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxStrangers {
		silent := unheard(t)
		go s.receive(t.Context(), silent, s.letIn(silent, address(i%4)))
	}
	for i := range 5 {
		near, far := net.Pipe()
		let := make(chan bool)
		go func() {
			caller := s.letIn(far, address(1000))
			link, err := s.peer.Accept(far)
			let <- !s.leaves(caller, err)
			if link != nil {
				link.Close()
			}
		}()
		link, err := client.Open(near)
		if err != nil {
			t.Fatalf("client %d: %v", i+1, err)
		}
		if !<-let {
			t.Errorf("client %d has proved itself and is turned away", i+1)
		}
		link.Close()
	}
}
