package vm

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/load"
)

// checkScenario holds a recording against what the scenario promises of conns connections: every end in its state, each
// of its objects in a cache with a name, and nothing lost or doubted. While a scenario is arranged, an interrupt may
// come while the slab program runs, and the kernel skips that program for all that is allocated in its softirqs. It was up
// to a hundredth of the allocations, and nothing of the account rests on them. The error names everything that is not so.
func checkScenario(r *recording.Recording, s load.Scenario, conns int) error {
	return errors.Join(
		checkSchema(r),
		checkLoad(r, conns),
		checkLosses(r, preemptible(r) || s.Acts()),
		checkStates(r, s, conns),
		checkCaches(r),
		checkTypes(r, preempted(r)),
		checkNotes(r),
	)
}

// checkStates wants all ends of a role in the scenario's state, and none where it leaves none.
func checkStates(r *recording.Recording, s load.Scenario, conns int) error {
	want := map[string]int{}
	for role, state := range map[string]string{"client": s.Client, "server": s.Server} {
		if state != "" {
			want[role+" "+state] = conns
		}
	}
	want["listener LISTEN"] = 1
	if s.Listens {
		want["listener LISTEN"] = conns
	}
	var errs []error
	for _, row := range r.Endpoints {
		name := row.Role + " " + row.State
		if row.Count != want[name] {
			errs = append(errs, fmt.Errorf("%s: %d endpoints, want %d", name, row.Count, want[name]))
		}
		delete(want, name)
	}
	for name, n := range want {
		errs = append(errs, fmt.Errorf("%s: no row, want %d endpoints", name, n))
	}
	return errors.Join(errs...)
}

// checkCaches wants a cache, and with it a size, for every object.
func checkCaches(r *recording.Recording) error {
	var errs []error
	for _, row := range r.Endpoints {
		for _, o := range row.Objects {
			if o.Cache == "" || o.Count > 0 && o.PageBytes == 0 {
				errs = append(errs, fmt.Errorf("%s %s: %d %s in cache %q take %d page bytes", row.Role, row.State, o.Count,
					o.Type, o.Cache, o.PageBytes))
			}
		}
	}
	return errors.Join(errs...)
}

func checkNotes(r *recording.Recording) error {
	if len(r.Notes) != 0 {
		return fmt.Errorf("notes: %s", strings.Join(r.Notes, "; "))
	}
	return nil
}

// goodScenario is what half-closed should leave of 2,000 connections.
func goodScenario() *recording.Recording {
	r := goodRecording()
	r.Endpoints[0].State, r.Endpoints[1].State = "FIN_WAIT2", "CLOSE_WAIT"
	r.Endpoints = append(r.Endpoints, recording.EndpointRow{Role: "listener", State: "LISTEN", Count: 1})
	for _, row := range r.Endpoints {
		for i := range row.Objects {
			row.Objects[i].Cache, row.Objects[i].PageBytes = "TCP", 1
		}
	}
	return r
}

func TestScenarioChecksFindWhatIsWrong(t *testing.T) {
	scenario, ok := load.FindScenario("half-closed")
	if !ok {
		t.Fatal("there is no such scenario")
	}
	if err := checkScenario(goodScenario(), scenario, 2000); err != nil {
		t.Errorf("a good recording: %v", err)
	}
	for name, c := range map[string]struct {
		spoil func(*recording.Recording)
		want  string
	}{
		"state":      {func(r *recording.Recording) { r.Endpoints[1].State = "ESTABLISHED" }, "server CLOSE_WAIT: no row"},
		"stragglers": {func(r *recording.Recording) { r.Endpoints[2].Role = "server" }, "server LISTEN: 1 endpoints, want 0"},
		"too few":    {func(r *recording.Recording) { r.Endpoints[0].Count = 9 }, "client FIN_WAIT2: 9 endpoints"},
		"failed":     {func(r *recording.Recording) { r.Load.Failed = 1 }, "1 failed"},
		"losses":     {func(r *recording.Recording) { r.Losses.WalkSkipped = 3 }, "WalkSkipped:3"},
		"no cache":   {func(r *recording.Recording) { r.Endpoints[0].Objects[1].Cache = "" }, `socket_alloc in cache ""`},
		"no size":    {func(r *recording.Recording) { r.Endpoints[0].Objects[1].PageBytes = 0 }, "take 0 page bytes"},
		"trace":      {func(r *recording.Recording) { r.Trace.Types[0].Trace = 5 }, "counted 5, the walk found 2000"},
		"note":       {func(r *recording.Recording) { r.Notes = []string{"a doubt"} }, "a doubt"},
	} {
		r := goodScenario()
		c.spoil(r)
		if err := checkScenario(r, scenario, 2000); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q in it", name, err, c.want)
		}
	}
}
