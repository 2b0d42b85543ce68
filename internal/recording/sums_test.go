package recording

import (
	"testing"

	"github.com/connprof/connprof/internal/kernel"
)

func rowsOf(role kernel.Role, count int) []EndpointRow {
	return []EndpointRow{{Role: role, State: "ESTABLISHED", Count: count, PageBytes: uint64(count) * 4000}}
}

func end(role kernel.Role, boot string, rows ...EndpointRow) *Machine {
	return &Machine{Host: Host{Boot: boot}, Load: &Load{End: role, Scenario: "idle"}, Endpoints: rows}
}

func TestTheMissingEndIsTheOneWithoutAnAccount(t *testing.T) {
	client := end(kernel.RoleClient, "a", rowsOf(kernel.RoleClient, 3)...)
	server := end(kernel.RoleServer, "b", rowsOf(kernel.RoleServer, 3)...)
	both := end(kernel.RoleBoth, "a", rowsOf(kernel.RoleClient, 3)...)
	silentClient, silentServer := end(kernel.RoleClient, "a"), end(kernel.RoleServer, "b")
	look := &Machine{Endpoints: rowsOf(kernel.RoleUnknown, 3)}
	tests := map[string]struct {
		machines []*Machine
		want     kernel.Role
	}{
		"both on one":                 {[]*Machine{both}, kernel.RoleUnknown},
		"both on two":                 {[]*Machine{client, server}, kernel.RoleUnknown},
		"the client's alone":          {[]*Machine{client}, kernel.RoleServer},
		"the server's alone":          {[]*Machine{server}, kernel.RoleClient},
		"a server without an account": {[]*Machine{client, silentServer}, kernel.RoleServer},
		"a client without an account": {[]*Machine{silentClient, server}, kernel.RoleClient},
		"no account at all":           {[]*Machine{silentClient, silentServer}, kernel.RoleUnknown},
		"nothing opened":              {[]*Machine{look}, kernel.RoleUnknown},
		"no machine":                  {nil, kernel.RoleUnknown},
	}
	for name, test := range tests {
		if got := (&Recording{Machines: test.machines}).Missing(); got != test.want {
			t.Errorf("%s: %s is missing, want %s", name, got, test.want)
		}
	}
}

func TestSumsAreOverAllMachines(t *testing.T) {
	client := end(kernel.RoleClient, "a", rowsOf(kernel.RoleClient, 3)...)
	server := end(kernel.RoleServer, "a", append(rowsOf(kernel.RoleServer, 2), rowsOf(kernel.RoleServer, 4)...)...)
	client.Losses.RingFull, server.Losses.WalkSkipped = 5, 7
	client.Reconcile = &Reconcile{}
	r := &Recording{Machines: []*Machine{client, server}}
	if got := r.Counts(); got[kernel.RoleClient] != 3 || got[kernel.RoleServer] != 6 || len(r.Rows()) != 3 {
		t.Errorf("%v in %d rows", got, len(r.Rows()))
	}
	if r.Lost() != 12 || server.Count() != 6 {
		t.Errorf("%d lost, %d endpoints on the server", r.Lost(), server.Count())
	}
	if list := r.Reconciled(); len(list) != 1 || list[0] != client || len(r.Profiled()) != 2 {
		t.Errorf("%d reconciled, %d profiled", len(list), len(r.Profiled()))
	}
	if !r.OneKernel() {
		t.Error("one boot is taken for two kernels")
	}
	if server.Host.Boot = "b"; r.OneKernel() {
		t.Error("two boots are taken for one kernel")
	}
	if r.Load() != client.Load || r.Scenario() != "idle" || (&Recording{Machines: []*Machine{{}}}).Scenario() != "" {
		t.Error("the load is not the connecting end's")
	}
}

func TestTheCostliestOfAllMachinesComeFirst(t *testing.T) {
	a, b := &Machine{}, &Machine{}
	for i := range TopLength {
		a.Top = append(a.Top, TopEndpoint{Role: kernel.RoleClient, PageBytes: uint64(10_000 - 10*i)})
		b.Top = append(b.Top, TopEndpoint{Role: kernel.RoleServer, PageBytes: 1, BufferBytes: uint64(10_004 - 10*i)})
	}
	top := (&Recording{Machines: []*Machine{a, b}}).Top()
	if len(top) != TopLength {
		t.Fatalf("%d are listed", len(top))
	}
	for i, e := range top {
		if want := [2]kernel.Role{kernel.RoleServer, kernel.RoleClient}[i%2]; e.Role != want {
			t.Fatalf("place %d is a %s's", i, e.Role)
		}
	}
	if len(a.Top) != TopLength || a.Top[0].Role != kernel.RoleClient {
		t.Error("the machine's own list is changed")
	}
}
