package account

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// bothSides are the recordings of the two ends of two connections, each with one endpoint more that is not its own.
func bothSides() (near, far *Recording) {
	near = filled(accountedCaches(vectorSite(128)), client(1), client(2))
	far = filled(accountedCaches(vectorSite(128)), listener(), server(1), server(2), client(3))
	near.Load.End, far.Load.End = "client", "server"
	near.Host.Boot, far.Host.Boot = "one boot", "another"
	return near, far
}

func counts(rows []EndpointRow) map[string]int {
	n := map[string]int{}
	for _, r := range rows {
		n[r.Role] += r.Count
	}
	return n
}

func TestTwoRecordingsAreJoinedAndParted(t *testing.T) {
	near, far := bothSides()
	stacks, reconciled := len(near.Stacks), near.Reconcile.SlabDeltaBytes
	near.Join(far)
	if n := counts(near.Endpoints); n["client"] != 2 || n["server"] != 2 || n["listener"] != 1 {
		t.Errorf("the joint recording has endpoints %v, want each role from its own end", n)
	}
	if near.Peer == nil || len(near.Peer.Endpoints)+len(near.Peer.Stacks)+len(near.Peer.Top)+len(near.Peer.Addresses) != 0 {
		t.Fatalf("what is joined is also in the peer: %+v", near.Peer)
	}
	if len(near.Stacks) < stacks || near.Reconcile.SlabDeltaBytes != reconciled || near.Reconcile.BothEnds {
		t.Errorf("two kernels are reconciled as one: %+v", near.Reconcile)
	}
	if !slices.IsSortedFunc(near.Top, func(a, b TopEndpoint) int {
		return int(b.PageBytes+b.BufferBytes) - int(a.PageBytes+a.BufferBytes)
	}) || len(near.Top) == 0 {
		t.Errorf("the costliest endpoints are not in order: %+v", near.Top)
	}
	if counts(far.Endpoints)["server"] != 2 || far.Peer != nil {
		t.Error("joining has changed the other recording")
	}
	own, peer := near.Parts()
	if n := counts(own.Endpoints); n["client"] != 2 || len(n) != 1 || own.Peer != nil {
		t.Errorf("the client's part has endpoints %v", n)
	}
	if n := counts(peer.Endpoints); n["server"] != 2 || n["listener"] != 1 || len(n) != 2 || peer.Load.End != "server" {
		t.Errorf("the server's part has endpoints %v", n)
	}
	for name, roles := range map[string][2]string{"own": {"client", ""}, "peer": {"server", "listener"}} {
		part := map[string]*Recording{"own": own, "peer": peer}[name]
		for _, s := range part.Stacks {
			if s.Role != roles[0] && s.Role != roles[1] {
				t.Errorf("the %s part has a stack of a %s", name, s.Role)
			}
		}
	}
	alone, _ := bothSides()
	if own, peer := alone.Parts(); own != alone || peer != nil {
		t.Error("a recording of one machine has parts")
	}
}

// The kernel is one: what it has grown by is held against both accounts together. A counts in both, B and C in one each, and
// both ends have found the same part of the account in slabs that were there before.
func TestTwoEndsOnOneKernelAreReconciledTogether(t *testing.T) {
	near, far := bothSides()
	far.Host.Boot = near.Host.Boot
	near.Reconcile = Reconcile{SlabDeltaBytes: 1000, AccountedPageBytes: 400 - 50, ReusedBytes: 50, Caches: []CacheRow{
		{Cache: "A", SlabinfoDeltaObjects: 80, AccountedObjects: 40, AccountedPageBytes: 400, ReusedBytes: 50},
		{Cache: "C", SlabinfoDeltaObjects: 10},
	}}
	far.Reconcile = Reconcile{SlabDeltaBytes: 1000, AccountedPageBytes: 600 - 50 - 30, ReusedBytes: 50 + 30, Caches: []CacheRow{
		{Cache: "A", SlabinfoDeltaObjects: 80, AccountedObjects: 39, ReusedVectors: 1, AccountedPageBytes: 400, ReusedBytes: 50},
		{Cache: "C", SlabinfoDeltaObjects: 10, AccountedObjects: 9, ReusedVectors: 1, AccountedPageBytes: 100, ReusedBytes: 30},
		{Cache: "B", SlabinfoDeltaObjects: 5, AccountedObjects: 5, AccountedPageBytes: 100},
	}}
	near.Join(far)
	r := near.Reconcile
	// 400 + 600 page bytes, of which 50 of A and 30 of C made nothing grow.
	if !r.BothEnds || r.SlabDeltaBytes != 1000 || r.ReusedBytes != 80 || r.AccountedPageBytes != 1000-80 {
		t.Errorf("%+v, want 1,000 bytes of which 80 lie in old slabs", r)
	}
	if r.UnexplainedRatio < 0.0799 || r.UnexplainedRatio > 0.0801 {
		t.Errorf("%v is unexplained, want 80 of 1,000", r.UnexplainedRatio)
	}
	objects := map[string]int64{}
	for _, c := range r.Caches {
		objects[c.Cache] += c.AccountedObjects
	}
	if objects["A"] != 80 || objects["B"] != 5 || objects["C"] != 9 || len(r.Caches) != 3 {
		t.Errorf("the caches have %v objects: %+v", objects, r.Caches)
	}
	if len(near.Peer.Reconcile.Caches) != 0 || near.Peer.Reconcile.AccountedPageBytes != 0 {
		t.Errorf("the server's half is told twice: %+v", near.Peer.Reconcile)
	}
}

func TestARecordingFromANetworkIsReadWithCare(t *testing.T) {
	_, far := bothSides()
	far.Schema = Schema
	var good bytes.Buffer
	if err := far.Write(&good); err != nil {
		t.Fatal(err)
	}
	if got, err := Decode(good.Bytes()); err != nil || counts(got.Endpoints)["server"] != 2 {
		t.Errorf("a server's recording is not read: %v", err)
	}
	far.Peer = &Recording{Schema: Schema}
	var nested bytes.Buffer
	if err := far.Write(&nested); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"another machine's": nested.Bytes(), "nothing": nil,
		"half": good.Bytes()[:good.Len()/2], "another schema": bytes.Replace(good.Bytes(), []byte(Schema), []byte("other/1"), 1)} {
		if got, err := Decode(data); err == nil {
			t.Errorf("%s was taken for a recording: %+v", name, got)
		} else if name == "another machine's" && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
