package recording

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
)

// The files below testdata/v1 are recordings of the last connprof that wrote schema 1: one of each scenario with 200
// connections (listen: sockets), one over IPv6, one without a profile, one of servers compared, some of runs between machines,
// and what a server has kept of one.
func readV1(t *testing.T, name string) *Recording {
	t.Helper()
	r, err := ReadFile(filepath.Join("testdata", "v1", name+".json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ends sums the endpoints by role and state.
func ends(m *Machine) string {
	var list []string
	for _, row := range m.Endpoints {
		list = append(list, fmt.Sprintf("%s %s %d", row.Role, row.State, row.Count))
	}
	return strings.Join(list, ", ")
}

func TestRecordingsOfSchema1AreRead(t *testing.T) {
	files, err := filepath.Glob("testdata/v1/*.json.gz")
	if err != nil || len(files) < 14 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		r, err := ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if r.Schema != Schema || r.Kind != KindRun || r.Version == "" || r.Created.IsZero() {
			t.Errorf("%s: %s, kind %s, version %q", file, r.Schema, r.Kind, r.Version)
		}
		for _, m := range r.Machines {
			if m.Load == nil || m.Host.Kernel == "" || m.Load.End == kernel.RoleUnknown {
				t.Errorf("%s: load %+v on %+v", file, m.Load, m.Host)
			}
			if m.Profiled() != (m.Trace != nil && m.Sampling != nil) {
				t.Errorf("%s: a profile is %v, a trace %+v", file, m.Profiled(), m.Trace)
			}
		}
	}
}

func TestTheAccountOfSchema1IsTheSame(t *testing.T) {
	tests := map[string][]string{ // by machine
		"idle":              {"client ESTABLISHED 200, server ESTABLISHED 200, listener LISTEN 1"},
		"half-closed":       {"client FIN_WAIT2 200, server CLOSE_WAIT 200, listener LISTEN 1"},
		"listen":            {"listener LISTEN 200"},
		"no-profile":        {""},
		"one-kernel":        {"client ESTABLISHED 200", "server ESTABLISHED 200, listener LISTEN 1"},
		"one-kernel-server": {"server ESTABLISHED 200, listener LISTEN 1"},
	}
	for name, want := range tests {
		var got []string
		for _, m := range readV1(t, name).Machines {
			got = append(got, ends(m))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestTwoEndsOfSchema1OnOneKernelAreReconciledOnce(t *testing.T) {
	m := readV1(t, "one-kernel").Machines
	if m[0].Reconcile == nil || !m[0].Reconcile.BothEnds || m[1].Reconcile != nil {
		t.Errorf("%+v and %+v", m[0].Reconcile, m[1].Reconcile)
	}
	if m[0].Host.Boot == "" || m[0].Host.Boot != m[1].Host.Boot || m[0].Name == "" {
		t.Errorf("%q on %q, %q on %q", m[0].Name, m[0].Host.Boot, m[1].Name, m[1].Host.Boot)
	}
	if m[0].Load.End != kernel.RoleClient || m[1].Load.End != kernel.RoleServer {
		t.Errorf("the ends are %s and %s", m[0].Load.End, m[1].Load.End)
	}
}
