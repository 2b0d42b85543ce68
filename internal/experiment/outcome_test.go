package experiment

import (
	"slices"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
)

// Both ends are held against what the load engine says, and not against what the other one has left of that.
func TestDoubtsAreToldOfEachEnd(t *testing.T) {
	idle, _ := load.FindScenario("idle")
	up := func(role kernel.Role, n int) recording.EndpointRow {
		return recording.EndpointRow{Role: role, State: idle.Client, Count: n}
	}
	for _, c := range []struct {
		clients, servers, up int
		notes                []string
	}{
		{10, 10, 10, nil},
		{8, 10, 8, []string{"10 connections up and the walk found 8 client"}},
		{10, 7, 7, []string{"10 connections up and the walk found 7 server"}},
		{8, 7, 7, []string{"10 connections up and the walk found 8 client", "10 connections up and the walk found 7 server"}},
	} {
		m := &recording.Machine{Load: &recording.Load{Established: 10},
			Endpoints: []recording.EndpointRow{up(kernel.RoleClient, c.clients), up(kernel.RoleServer, c.servers)}}
		s := &Stage{plan: &Plan{Ends: BothHere(), Scenario: idle}, machine: m, others: &presence{}}
		s.noteDoubts()
		var notes []string
		for _, n := range m.Notes {
			if !strings.Contains(n, "another connprof ran") { // on this host there may be one
				notes = append(notes, n)
			}
		}
		if m.Load.Established != c.up || len(notes) != len(c.notes) {
			t.Errorf("%+v: %d are up, %q", c, m.Load.Established, notes)
			continue
		}
		for i, want := range c.notes {
			if !strings.Contains(notes[i], want) {
				t.Errorf("%+v: note %q, want it to say %q", c, notes[i], want)
			}
		}
	}
}

// What is not in the scenario has a row, and a reason that says where it is instead.
func TestEndsThatAreNotInTheScenarioAreReasons(t *testing.T) {
	row := func(role kernel.Role, state string, n int) recording.EndpointRow {
		return recording.EndpointRow{Role: role, State: state, Count: n}
	}
	rows := []recording.EndpointRow{row(kernel.RoleServer, "CLOSE_WAIT", 17), row(kernel.RoleServer, "ESTABLISHED", 2),
		row(kernel.RoleClient, "FIN_WAIT2", 20)}
	want := []recording.Failure{{Step: "scenario", Error: "the server's end is in ESTABLISHED, not in CLOSE_WAIT", Count: 2},
		{Step: "scenario", Error: "the server's end is gone", Count: 1}}
	if got := elsewhere(rows, kernel.RoleServer, "CLOSE_WAIT", 3); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := elsewhere(rows, kernel.RoleServer, "CLOSE_WAIT", -1); got != nil {
		t.Errorf("more than there should be: %+v", got)
	}
}
