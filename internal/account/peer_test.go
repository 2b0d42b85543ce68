package account

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

// twoMachines are the recordings that the two ends of one run make, with something in every list.
func twoMachines() (near, far *Recording) {
	near, far = fullRecording(), fullRecording()
	near.Load.End, near.Host.Name, near.Host.Boot = "client", "one", "boot of one"
	far.Load.End, far.Host.Name, far.Host.Boot = "server", "two", "boot of two"
	far.Command, far.Notes = []string{"connprof", "serve"}, []string{"a note of the server's"}
	far.Losses.RingFull, far.Interrupted = 7, "connprof serve was interrupted"
	client := func(role string) bool { return role == "client" }
	near.Endpoints, far.Endpoints = divided(near.Endpoints, func(e EndpointRow) bool { return client(e.Role) })
	near.Stacks, far.Stacks = divided(near.Stacks, func(s Stack) bool { return client(s.Role) })
	near.Addresses, far.Addresses = divided(near.Addresses, func(a AddressRow) bool { return client(a.Role) })
	near.Top, far.Top = divided(near.Top, func(e TopEndpoint) bool { return client(e.Role) })
	return near, far
}

func TestTheMachinesOfARunComeApartAgainAsTheyWere(t *testing.T) {
	joined, server := twoMachines()
	joined.Join(server)
	var file bytes.Buffer
	if err := joined.Write(&file); err != nil {
		t.Fatal(err)
	}
	read, err := Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read, joined) {
		t.Errorf("read %+v, wrote %+v", read, joined)
	}
	if n := len(read.Endpoints); n != 3 || len(read.Peer.Endpoints) != 0 {
		t.Errorf("the joined recording has %d rows, want client, server and listener; %d are the peer's alone", n,
			len(read.Peer.Endpoints))
	}
	near, far := read.Parts()
	wantNear, wantFar := twoMachines()
	for name, p := range map[string][2]*Recording{"client": {near, wantNear}, "server": {far, wantFar}} {
		if !reflect.DeepEqual(p[0], p[1]) {
			t.Errorf("the %s's part is %+v, was %+v", name, p[0], p[1])
		}
	}
}

func TestOneMachineIsOnePart(t *testing.T) {
	r := fullRecording()
	if own, peer := r.Parts(); own != r || peer != nil {
		t.Errorf("%p, %p; want %p and nil", own, peer, r)
	}
}

// A part cannot bring along a third machine, however the recording came about.
func TestPartsHaveNoPeers(t *testing.T) {
	r, far := twoMachines()
	r.Peer, far.Peer = far, fullRecording()
	if near, far := r.Parts(); near.Peer != nil || far.Peer != nil {
		t.Error("a part has a peer")
	}
}

func TestEndsOnOneKernelHaveOneAccount(t *testing.T) {
	r, server := twoMachines()
	server.Host.Boot = r.Host.Boot
	was, other := r.Reconcile, server.Reconcile
	r.Join(server)
	rec := &r.Reconcile
	if !rec.BothEnds || rec.SlabDeltaBytes != was.SlabDeltaBytes || len(r.Peer.Reconcile.Caches) != 0 {
		t.Errorf("got %+v, and of the server's own %+v", rec, r.Peer.Reconcile)
	}
	if want := was.AccountedPageBytes + other.AccountedPageBytes + other.ReusedBytes; rec.AccountedPageBytes != want {
		t.Errorf("%d bytes accounted for, want the sum %d", rec.AccountedPageBytes, want)
	}
}

func TestARecordingFromTheNetworkIsOfOneMachine(t *testing.T) {
	r, server := twoMachines()
	r.Join(server)
	var sent bytes.Buffer
	if err := r.Write(&sent); err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(sent.Bytes()); err == nil || !strings.Contains(err.Error(), "another machine's") {
		t.Errorf("a joined recording was taken from the network: %v", err)
	}
}
