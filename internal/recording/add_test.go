package recording

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
)

// twoMachines are the recordings that the two ends of one run make. The server's has endpoints that are not its own.
func twoMachines() (client, server *Recording) {
	client, server = fullRecording(), fullRecording()
	near, far := client.Machines[0], server.Machines[0]
	near.Load.End, near.Name, near.Host.Boot = kernel.RoleClient, "one", "boot of one"
	far.Load.End, far.Name, far.Host.Boot = kernel.RoleServer, "two", "boot of two"
	near.keep(kernel.RoleClient)
	server.Command, far.Notes = []string{"connprof", "serve"}, []string{"a note of the server's"}
	server.Interrupted, far.Losses.RingFull = "connprof serve was interrupted", 7
	return client, server
}

func roles(m *Machine) (list []string) {
	for _, row := range m.Endpoints {
		list = append(list, row.Role.String())
	}
	return list
}

func TestTheAcceptingEndFollowsTheConnectingEnd(t *testing.T) {
	joint, server := twoMachines()
	joint.Add(server)
	if len(joint.Machines) != 2 {
		t.Fatalf("%d machines, want 2", len(joint.Machines))
	}
	near, far := joint.Machines[0], joint.Machines[1]
	if !slices.Equal(roles(near), []string{"client"}) || !slices.Equal(roles(far), []string{"server", "listener"}) {
		t.Errorf("the machines have endpoints %v and %v", roles(near), roles(far))
	}
	if n := len(far.Stacks); n != 2 || len(far.Top) != 2 || len(far.Addresses) != 2 {
		t.Errorf("the server has %d stacks, %d of the costliest, %d addresses; want its own two", n, len(far.Top), len(far.Addresses))
	}
	if far.Interrupted != server.Interrupted || joint.Interrupted != "" || far.Version != "" || far.Losses.RingFull != 7 {
		t.Errorf("the server was interrupted by %q, the run by %q", far.Interrupted, joint.Interrupted)
	}
	if near.Reconcile.BothEnds || far.Reconcile == nil {
		t.Error("two kernels are reconciled as one")
	}
	if len(server.Machines[0].Endpoints) != 3 {
		t.Error("adding has changed the other recording")
	}
	if got := reread(t, joint); !reflect.DeepEqual(got, joint) {
		t.Errorf("read %+v, wrote %+v", got, joint)
	}
}

func reread(t *testing.T, r *Recording) *Recording {
	t.Helper()
	var file bytes.Buffer
	if err := r.Write(&file); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// The kernel is one: what it has grown by is held against both accounts together. A counts in both, B and C in one each, and
// both ends have found the same part of the account in slabs that were there before.
func TestTwoEndsOnOneKernelAreReconciledTogether(t *testing.T) {
	joint, server := twoMachines()
	near, far := joint.Machines[0], server.Machines[0]
	far.Host.Boot = near.Host.Boot
	near.Reconcile = &Reconcile{SlabDeltaBytes: 1000, AccountedPageBytes: 400 - 50, ReusedBytes: 50, Caches: []CacheRow{
		{Cache: "A", SlabinfoDeltaObjects: 80, AccountedObjects: 40, AccountedPageBytes: 400, ReusedBytes: 50},
		{Cache: "C", SlabinfoDeltaObjects: 10},
	}}
	far.Reconcile = &Reconcile{SlabDeltaBytes: 1000, AccountedPageBytes: 600 - 50 - 30, ReusedBytes: 50 + 30, Caches: []CacheRow{
		{Cache: "A", SlabinfoDeltaObjects: 80, AccountedObjects: 39, ReusedVectors: 1, AccountedPageBytes: 400, ReusedBytes: 50},
		{Cache: "C", SlabinfoDeltaObjects: 10, AccountedObjects: 9, ReusedVectors: 1, AccountedPageBytes: 100, ReusedBytes: 30},
		{Cache: "B", SlabinfoDeltaObjects: 5, AccountedObjects: 5, AccountedPageBytes: 100},
	}}
	joint.Add(server)
	r := joint.Machines[0].Reconcile
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
	if joint.Machines[1].Reconcile != nil {
		t.Errorf("the server's half is told twice: %+v", joint.Machines[1].Reconcile)
	}
}

// To the connecting end, the other end's sockets are others, and its account has them already.
func TestTheOtherEndIsNoneOfTheOthers(t *testing.T) {
	joint, server := twoMachines()
	near, far := joint.Machines[0], server.Machines[0]
	far.Host.Boot = near.Host.Boot
	far.Endpoints = []EndpointRow{{Role: kernel.RoleServer, Count: 10}, {Role: kernel.RoleListener, Count: 1}}
	near.Reconcile = &Reconcile{SlabDeltaBytes: 1030, AccountedPageBytes: 400, Others: &OthersGrown{7, 7 + 10 + 3, 630}, Caches: []CacheRow{
		{Cache: "A", AccountedObjects: 10, AccountedPageBytes: 400, OthersObjects: 13, OthersPageBytes: 630}}}
	far.Reconcile = &Reconcile{SlabDeltaBytes: 1030, AccountedPageBytes: 600, Others: &OthersGrown{7, 7 + 10 + 3, 430}, Caches: []CacheRow{
		{Cache: "A", AccountedObjects: 10, AccountedPageBytes: 600, OthersObjects: 13, OthersPageBytes: 430}}}
	joint.Add(server)
	r := joint.Machines[0].Reconcile
	if r.AccountedPageBytes != 1000 || *r.Others != (OthersGrown{6, 9, 30}) || r.Unexplained() != 0 || r.UnexplainedRatio != 0 {
		t.Errorf("%+v, others %+v, want 1,000 accounted and 30 of others", r, r.Others)
	}
	if c := r.Caches[0]; c.AccountedObjects != 20 || c.OthersObjects != 3 || c.OthersPageBytes != 30 {
		t.Errorf("%+v, want 20 objects of the run and 3 of others", c)
	}
}

func TestARecordingFromANetworkIsReadWithCare(t *testing.T) {
	joint, server := twoMachines()
	good, err := json.Marshal(server)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeOne(good); err != nil || len(roles(got.Machines[0])) != 3 {
		t.Errorf("a server's recording is not read: %v", err)
	}
	joint.Add(server)
	both, err := json.Marshal(joint)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"another machine's": both, "nothing": nil, "half": good[:len(good)/2],
		"another schema": bytes.Replace(good, []byte(Schema), []byte("other/1"), 1)} {
		if got, err := DecodeOne(data); err == nil {
			t.Errorf("%s was taken for a recording: %+v", name, got)
		} else if name == "another machine's" && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
