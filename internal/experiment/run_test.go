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
	"github.com/connprof/connprof/test/check"
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
	if err := errors.Join(check.Idle(rec, o.IPs, n), check.Listeners(rec, o.Ports), check.Caches(rec), check.Stacks(rec),
		check.Hooks(rec), check.Hits(rec, kernel.HookConnect, n), check.Hits(rec, kernel.HookAccept, n)); err != nil {
		t.Error(err)
	}
	if len(hooked) != len(rec.Hooks) {
		t.Errorf("told of hooks %v, recorded %v", hooked, rec.Hooks)
	}
	if rec.Load.ConnectCPUSeconds <= 0 || rec.Cost.ProfilerRSSBytes == 0 || rec.Cost.BPFMapBytes == 0 || rec.Cost.Events == 0 {
		t.Errorf("cost %+v and %v s of the CPUs: nothing is free", rec.Cost, rec.Load.ConnectCPUSeconds)
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
		if err := errors.Join(check.Idle(rec, c.ips, c.conns), check.Listeners(rec, c.ports)); err != nil {
			t.Errorf("%+v: %v", c, err)
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
	if err := errors.Join(check.Endpoints(rec, kernel.RoleClient, up), check.Endpoints(rec, kernel.RoleServer, up)); err != nil {
		t.Error(err)
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
	if rec.Load.Established != 500 || rec.Load.ConnectsPerSecond <= 0 || rec.Load.ConnectCPUSeconds <= 0 {
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
