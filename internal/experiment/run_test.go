package experiment

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
)

func options(conns int) Options {
	o := Defaults()
	o.Conns, o.Started, o.Version, o.Command = conns, time.Now(), "test", []string{"test"}
	return o
}

// mustRun makes a run and gives out what the one machine measured.
func mustRun(t testing.TB, o Options) *recording.Machine {
	t.Helper()
	m, why := mustEnd(t, o)
	if why != "" {
		t.Fatalf("the run was interrupted: %s", why)
	}
	return m
}

// mustEnd makes a run that may be interrupted, and says by what.
func mustEnd(t testing.TB, o Options) (m *recording.Machine, why string) {
	t.Helper()
	rec, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Kind != recording.KindRun || len(rec.Machines) != 1 {
		t.Fatalf("kind %s with %d machines, want a run on one", rec.Kind, len(rec.Machines))
	}
	return rec.Machines[0], rec.Interrupted
}

func TestRunAccountsForEveryConnection(t *testing.T) {
	const n = 2000
	var hooked []recording.Hook
	o := options(n)
	o.Hooked = func(h []recording.Hook) { hooked = h }
	rec := mustRun(t, o)
	if rec.Load.Established != n || rec.Load.Failed != 0 {
		t.Errorf("load %+v, want %d established", rec.Load, n)
	}
	for _, role := range []kernel.Role{kernel.RoleClient, kernel.RoleServer} {
		endpoints, objects := objectCounts(rec, role, "ESTABLISHED")
		if endpoints != n {
			t.Errorf("%d %s endpoints, want %d", endpoints, role, n)
		}
		for _, kind := range []string{"tcp_sock", "socket_alloc", "file", "dentry", "epitem", "eppoll_entry"} {
			if objects[kind] != n {
				t.Errorf("%s: %d of %s, want %d", role, objects[kind], kind, n)
			}
		}
	}
	clients := 0
	for _, a := range rec.Addresses {
		if a.Role == kernel.RoleClient {
			clients++
			if a.Count != n/20 {
				t.Errorf("address %s has %d endpoints, want %d", a.Address, a.Count, n/20)
			}
		}
	}
	if clients != 20 {
		t.Errorf("%d client addresses, want 20", clients)
	}
	checkHooks(t, hooked, rec, n)
	checkStacks(t, rec)
	if rec.Cost.ProfilerRSSBytes == 0 || rec.Cost.BPFMapBytes == 0 || rec.Cost.Events == 0 {
		t.Errorf("cost %+v: nothing is free", rec.Cost)
	}
}

func checkHooks(t *testing.T, hooked []recording.Hook, rec *recording.Machine, n uint64) {
	t.Helper()
	if len(hooked) != len(rec.Hooks) || len(hooked) < 6 {
		t.Errorf("told of hooks %v, recorded %v", hooked, rec.Hooks)
	}
	for _, h := range rec.Hooks {
		if !h.Attached || h.Function == "" || h.Kind == "" {
			t.Errorf("hook %+v", h)
		}
		if (h.Name == "connect" || h.Name == "accept") && h.Hits != n {
			t.Errorf("hook %s: %d hits, want %d", h.Name, h.Hits, n)
		}
	}
}

// checkStacks holds the stacks' sums against the account.
func checkStacks(t *testing.T, rec *recording.Machine) {
	t.Helper()
	bytes := map[string]uint64{}
	for _, s := range rec.Stacks {
		bytes[s.Role.String()+" "+s.Type] += s.Bytes
		if s.Role == kernel.RoleServer && s.Type == "tcp_sock" {
			for _, f := range s.Frames {
				if strings.Contains(f, "sys_connect") {
					t.Errorf("the server's path has the client's frames: %v", s.Frames)
				}
			}
		}
	}
	for _, row := range rec.Endpoints {
		for _, o := range row.Objects {
			if o.PageBytes > 0 && bytes[row.Role.String()+" "+o.Type] == 0 {
				t.Errorf("no stack for %s %s", row.Role, o.Type)
			}
			bytes[row.Role.String()+" "+o.Type] -= o.PageBytes
		}
	}
	for group, left := range bytes {
		if left != 0 {
			t.Errorf("stacks of %s differ from the account by %d bytes", group, int64(left))
		}
	}
}

func TestSchemesEstablishExactlyWhatWasAskedFor(t *testing.T) {
	for _, c := range []struct {
		ips, ports, conns int
		ipv6              bool
	}{{1, 20, 1000, false}, {7, 3, 997, false}, {20, 1, 1000, true}, {1, 1, 1, false}} {
		o := options(c.conns)
		o.IPs, o.Ports, o.IPv6 = c.ips, c.ports, c.ipv6
		rec := mustRun(t, o)
		for _, role := range []kernel.Role{kernel.RoleClient, kernel.RoleServer} {
			if n, _ := objectCounts(rec, role, "ESTABLISHED"); n != c.conns {
				t.Errorf("%+v: %d %s endpoints", c, n, role)
			}
		}
		if listeners, _ := objectCounts(rec, kernel.RoleListener, "LISTEN"); listeners != c.ports {
			t.Errorf("%+v: %d listeners", c, listeners)
		}
	}
}

func TestStopEndsTheRampAndAccountsForWhatIsUp(t *testing.T) {
	stop := make(chan struct{})
	o := options(20_000)
	o.Rate = 1000
	o.Stop = stop
	stopped := false
	o.Progress = func(s Status) {
		if s.Established > 100 && !stopped {
			stopped = true
			close(stop)
		}
	}
	rec, why := mustEnd(t, o)
	up := rec.Load.Established
	if why != "interrupted" || up <= 100 || up >= 20_000 {
		t.Errorf("interrupted %q with %d up", why, up)
	}
	for _, role := range []kernel.Role{kernel.RoleClient, kernel.RoleServer} {
		if n, _ := objectCounts(rec, role, "ESTABLISHED"); n != up {
			t.Errorf("%d %s endpoints, want %d", n, role, up)
		}
	}
}

func TestAbortMakesNoAccount(t *testing.T) {
	ctx, abort := context.WithCancel(t.Context())
	o := options(20_000)
	o.Rate = 1000
	o.Progress = func(s Status) {
		if s.Established > 0 {
			abort()
		}
	}
	if rec, err := Run(ctx, o); !errors.Is(err, ErrAborted) || rec != nil {
		t.Errorf("recording %v and error %v, want ErrAborted", rec, err)
	}
}

func TestHeldConnectionsAreCheckedAtTheEnd(t *testing.T) {
	o := options(300)
	o.Hold = 200 * time.Millisecond
	rec := mustRun(t, o)
	if rec.Load.HoldSeconds < 0.2 || rec.Load.LostInHold != 0 {
		t.Errorf("held for %v s, %d lost", rec.Load.HoldSeconds, rec.Load.LostInHold)
	}
}

func TestWithoutProfileThereIsNoAccount(t *testing.T) {
	o := options(500)
	o.NoProfile = true
	rec := mustRun(t, o)
	if rec.Load.Established != 500 || rec.Load.ConnectsPerSecond <= 0 {
		t.Errorf("load %+v", rec.Load)
	}
	if len(rec.Endpoints) != 0 || len(rec.Hooks) != 0 {
		t.Errorf("%d endpoint rows and %d hooks without a profiler", len(rec.Endpoints), len(rec.Hooks))
	}
}

func TestMoreThanTheMemoryAllowedIsRefusedBeforeAnythingStarts(t *testing.T) {
	memory, err := limits.ReadMemory()
	if err != nil {
		t.Fatal(err)
	}
	o := options(int(memory.AvailableBytes/100/limits.LeastConnectionBytes) + 1000)
	o.IPs, o.Ports, o.AllowMemory = 254, 100, 1
	var tooMuch *limits.TooMuchError
	if _, err := Run(t.Context(), o); !errors.As(err, &tooMuch) || !strings.Contains(err.Error(), "--allow-memory") {
		t.Errorf("error %v, want a TooMuchError that names --allow-memory", err)
	}
}

func TestEndpointListHasEveryEndpoint(t *testing.T) {
	var out bytes.Buffer
	o := options(250)
	o.Endpoints = &out
	mustRun(t, o)
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1+250+250+1 {
		t.Errorf("%d rows, want a header, 500 endpoints and a listener", len(rows))
	}
	header := map[string]int{}
	for i, name := range rows[0] {
		header[name] = i
	}
	for _, row := range rows[1:] {
		role := row[header["role"]]
		if role != "listener" && (row[header["opened_at"]] == "" || row[header["pid"]] == "0" ||
			!strings.HasPrefix(row[header["comm"]], "connprof-")) {
			t.Fatalf("row %v lacks when and by whom it was opened", row)
		}
	}
}

func BenchmarkRun(b *testing.B) {
	for b.Loop() {
		rec := mustRun(b, options(20_000))
		b.ReportMetric(rec.Load.ConnectsPerSecond, "connections/s")
		b.ReportMetric(rec.Cost.WalkSeconds*1e9/40_001, "ns/walked-endpoint")
		b.ReportMetric(rec.Reconcile.UnexplainedRatio, "unexplained")
	}
}
