package vm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
)

// endpointTypes are the objects of which every idle endpoint in an epoll set has exactly one.
var endpointTypes = []string{"tcp_sock", "socket_alloc", "file", "dentry", "epitem", "eppoll_entry"}

var roles = []string{"client", "server"}

// rungOf is the kind of rung that connect and accept must get by each value of --hooks. Every stock kernel of the matrix
// offers all of them.
var rungOf = map[string]string{
	string(kernel.KindAuto):       string(kernel.KindKprobe),
	string(kernel.KindKprobe):     string(kernel.KindKprobe),
	string(kernel.KindFentry):     string(kernel.KindFentry),
	string(kernel.KindTracepoint): string(kernel.KindTracepoint),
}

// checkRecording holds a recording against what must be so after a run with --hooks over ips addresses with conns
// connections, none of which closed. The error names everything that is not so.
func checkRecording(r *recording.Recording, hooks string, ips, conns int) error {
	return errors.Join(
		checkSchema(r),
		checkLoad(r, conns),
		checkHook(r, "connect", rungOf[hooks], conns),
		checkHook(r, "accept", rungOf[hooks], conns),
		checkLosses(r, preemptible(r)),
		checkAddresses(r, ips, conns),
		checkEndpoints(r, "client", conns),
		checkEndpoints(r, "server", conns),
		checkTraceIsWalk(r, roles, preempted(r)),
	)
}

func checkSchema(r *recording.Recording) error {
	if r.Schema != recording.Schema {
		return fmt.Errorf("schema is %q, want %q", r.Schema, recording.Schema)
	}
	return nil
}

func checkLoad(r *recording.Recording, conns int) error {
	if r.Load.Established != conns || r.Load.Failed != 0 {
		return fmt.Errorf("load: %d established, %d failed (%+v), want %d and 0",
			r.Load.Established, r.Load.Failed, r.Load.Failures, conns)
	}
	return nil
}

// checkHook wants a rung of a kind and one hit for each connection. A hook may have more than one row, one a function.
// Tracepoint programs may have fewer hits where they were preempted.
func checkHook(r *recording.Recording, name, kind string, conns int) error {
	var errs []error
	var hits uint64
	found := false
	for _, h := range r.Hooks {
		if h.Name != name {
			continue
		}
		found = true
		hits += h.Hits
		if h.Kind != kind || !h.Attached {
			errs = append(errs, fmt.Errorf("hook %s on %s: kind %q, attached %v (%s), want an attached %s",
				name, h.Function, h.Kind, h.Attached, h.Note, kind))
		}
	}
	if !found {
		return fmt.Errorf("hook %s: not among the %d hooks", name, len(r.Hooks))
	}
	if less := hits < uint64(conns); hits != uint64(conns) && !(less && kind == string(kernel.KindTracepoint) && preempted(r)) {
		errs = append(errs, fmt.Errorf("hook %s: %d hits, want %d", name, hits, conns))
	}
	return errors.Join(errs...)
}

// preemptible tells whether the kernel may preempt a tracepoint program. What other tasks do on that CPU until it goes on
// is not reported; the kernel counts it, and it is a recursion loss of the recording.
func preemptible(r *recording.Recording) bool { return strings.HasPrefix(r.Host.Kernel, "7.2.") }

// preempted tells whether that happened, and the trace may be short of what it did not see.
func preempted(r *recording.Recording) bool { return preemptible(r) && r.Losses.RecursionMisses > 0 }

// checkLosses wants none, but for programs that the kernel skipped where it cannot be kept from that.
func checkLosses(r *recording.Recording, maySkip bool) error {
	losses := r.Losses
	if maySkip {
		losses.RecursionMisses = 0
	}
	if losses.Total() != 0 {
		return fmt.Errorf("losses: %+v, want none", r.Losses)
	}
	return nil
}

// checkAddresses wants the client endpoints on as many addresses as were asked for, the same number on each.
func checkAddresses(r *recording.Recording, ips, conns int) error {
	var errs []error
	addresses := map[string]bool{}
	for _, a := range r.Addresses {
		if a.Role != "client" {
			continue
		}
		addresses[a.Address] = true
		if a.Count != conns/ips {
			errs = append(errs, fmt.Errorf("client address %s: %d endpoints, want %d", a.Address, a.Count, conns/ips))
		}
	}
	if len(addresses) != ips {
		errs = append(errs, fmt.Errorf("%d client addresses, want %d", len(addresses), ips))
	}
	return errors.Join(errs...)
}

// checkEndpoints wants every connection ESTABLISHED at this end, with one object of each type an endpoint.
func checkEndpoints(r *recording.Recording, role string, conns int) error {
	row, err := establishedRow(r, role)
	if err != nil {
		return err
	}
	var errs []error
	if row.Count != conns {
		errs = append(errs, fmt.Errorf("%s ESTABLISHED: %d endpoints, want %d", role, row.Count, conns))
	}
	counts := map[string]int{}
	for _, o := range row.Objects {
		counts[o.Type] += o.Count
	}
	for _, kind := range endpointTypes {
		if counts[kind] != conns {
			errs = append(errs, fmt.Errorf("%s ESTABLISHED: %d %s, want %d", role, counts[kind], kind, conns))
		}
	}
	return errors.Join(errs...)
}

func establishedRow(r *recording.Recording, role string) (*recording.EndpointRow, error) {
	var found *recording.EndpointRow
	for i := range r.Endpoints {
		row := &r.Endpoints[i]
		if row.Role != role || row.State != "ESTABLISHED" {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%s ESTABLISHED: more than one row", role)
		}
		found = row
	}
	if found == nil {
		return nil, fmt.Errorf("%s ESTABLISHED: no row among %d", role, len(r.Endpoints))
	}
	return found, nil
}

// checkTraceIsWalk wants the two measurements to agree, and that each role has something for them to agree on.
func checkTraceIsWalk(r *recording.Recording, roles []string, skipped bool) error {
	errs := []error{checkTypes(r, skipped)}
	for _, role := range roles {
		if !slices.ContainsFunc(r.Trace.Types, func(row recording.TypeRow) bool {
			return row.Role == role && isEndpointType(row.Type)
		}) {
			errs = append(errs, fmt.Errorf("%s: no type was counted by both trace and walk", role))
		}
	}
	return errors.Join(errs...)
}

// checkTypes wants the trace's count of each type to be the walk's. It may be less where the kernel skipped tracepoint
// programs and the recording says so, and never more.
func checkTypes(r *recording.Recording, skipped bool) error {
	var errs []error
	for _, row := range r.Trace.Types {
		less := row.Trace < row.Walk
		if isEndpointType(row.Type) && row.Trace != row.Walk && !(less && skipped) {
			errs = append(errs, fmt.Errorf("%s %s: the trace counted %d, the walk found %d", row.Role, row.Type, row.Trace, row.Walk))
		}
	}
	return errors.Join(errs...)
}

func isEndpointType(kind string) bool { return slices.Contains(endpointTypes, kind) }

// goodRecording is what a run over 20 addresses with 2,000 connections should leave.
func goodRecording() *recording.Recording {
	r := &recording.Recording{
		Schema: recording.Schema,
		Load:   recording.Load{Established: 2000},
		Hooks: []recording.Hook{
			{Name: "connect", Function: "tcp_v4_connect", Kind: "kprobe", Attached: true, Hits: 2000},
			{Name: "connect", Function: "tcp_v6_connect", Kind: "kprobe", Attached: true},
			{Name: "accept", Function: "inet_csk_accept", Kind: "kprobe", Attached: true, Hits: 2000},
			{Name: "state", Function: "inet_sock_set_state", Kind: "tracepoint", Attached: true, Hits: 9000},
		},
	}
	for _, role := range roles {
		row := recording.EndpointRow{Role: role, State: "ESTABLISHED", Count: 2000}
		for _, kind := range endpointTypes {
			row.Objects = append(row.Objects, recording.ObjectRow{Type: kind, Count: 2000})
			r.Trace.Types = append(r.Trace.Types, recording.TypeRow{Role: role, Type: kind, Trace: 2000, Walk: 2000})
		}
		r.Endpoints = append(r.Endpoints, row)
	}
	for i := range 20 {
		r.Addresses = append(r.Addresses, recording.AddressRow{Address: fmt.Sprint("10.0.0.", i), Role: "client", Count: 100})
	}
	r.Addresses = append(r.Addresses, recording.AddressRow{Address: "10.0.1.1", Role: "server", Count: 2000})
	r.Trace.Types = append(r.Trace.Types, recording.TypeRow{Role: "client", Type: "inet_bind_bucket", Trace: 7, Walk: 9})
	return r
}

func TestChecksFindWhatIsWrong(t *testing.T) {
	if err := checkRecording(goodRecording(), string(kernel.KindAuto), 20, 2000); err != nil {
		t.Errorf("a good recording: %v", err)
	}
	for name, c := range map[string]struct {
		spoil func(*recording.Recording)
		want  string
	}{
		"schema":        {func(r *recording.Recording) { r.Schema = "x" }, `schema is "x"`},
		"established":   {func(r *recording.Recording) { r.Load.Established-- }, "1999 established"},
		"failed":        {func(r *recording.Recording) { r.Load.Failed = 1 }, "1 failed"},
		"no hook":       {func(r *recording.Recording) { r.Hooks = r.Hooks[:2] }, "hook accept: not among"},
		"rung":          {func(r *recording.Recording) { r.Hooks[0].Kind = "tracepoint" }, `kind "tracepoint"`},
		"detached":      {func(r *recording.Recording) { r.Hooks[2].Attached = false }, "attached false"},
		"hits":          {func(r *recording.Recording) { r.Hooks[2].Hits++ }, "hook accept: 2001 hits"},
		"losses":        {func(r *recording.Recording) { r.Losses.RingFull = 3 }, "RingFull:3"},
		"addresses":     {func(r *recording.Recording) { r.Addresses = r.Addresses[1:] }, "19 client addresses"},
		"uneven":        {func(r *recording.Recording) { r.Addresses[4].Count = 99 }, "10.0.0.4: 99 endpoints"},
		"endpoints":     {func(r *recording.Recording) { r.Endpoints[1].Count = 7 }, "server ESTABLISHED: 7 endpoints"},
		"no row":        {func(r *recording.Recording) { r.Endpoints[0].State = "SYN_SENT" }, "client ESTABLISHED: no row"},
		"double row":    {func(r *recording.Recording) { r.Endpoints[1].Role = "client" }, "client ESTABLISHED: more than one row"},
		"object":        {func(r *recording.Recording) { r.Endpoints[0].Objects[4].Count = 1 }, "client ESTABLISHED: 1 epitem"},
		"disagreement":  {func(r *recording.Recording) { r.Trace.Types[0].Trace = 5 }, "counted 5, the walk found 2000"},
		"nothing to do": {func(r *recording.Recording) { r.Trace.Types = nil }, "server: no type was counted"},
	} {
		r := goodRecording()
		c.spoil(r)
		if err := checkRecording(r, string(kernel.KindAuto), 20, 2000); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q in it", name, err, c.want)
		}
	}
}

func TestOnlyAPreemptedTraceMayCountLess(t *testing.T) {
	const stock, preempting = "6.12.117+deb12-cloud-amd64", "7.2.13+deb14-cloud-amd64"
	for _, c := range []struct {
		name   string
		kernel string
		trace  int
		misses uint64
		want   string // part of the error, empty for none
	}{
		{"trace and walk agree", preempting, 2000, 0, ""},
		{"they agree although runs were missed", preempting, 2000, 3, ""},
		{"less, and runs were missed", preempting, 1990, 3, ""},
		{"less, and nothing was missed", preempting, 1990, 0, "the trace counted 1990, the walk found 2000"},
		{"more, and runs were missed", preempting, 2001, 3, "the trace counted 2001, the walk found 2000"},
		{"less on a kernel that does not preempt", stock, 1990, 3, "the trace counted 1990, the walk found 2000"},
		{"runs missed on a kernel that does not preempt", stock, 2000, 3, "RecursionMisses:3"},
		{"a release that only begins alike", "7.20.1", 2000, 3, "RecursionMisses:3"},
	} {
		r := goodRecording()
		r.Host.Kernel, r.Losses.RecursionMisses, r.Trace.Types[0].Trace = c.kernel, c.misses, c.trace
		err := checkRecording(r, string(kernel.KindAuto), 20, 2000)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q in it", c.name, err, c.want)
		}
	}
}

func TestEachRungIsHeldAgainstWhatItCanSee(t *testing.T) {
	for _, c := range []struct {
		hooks, kind, kernel string
		hits, misses        uint64
		want                string // part of the error, empty for none
	}{
		{string(kernel.KindKprobe), string(kernel.KindKprobe), "6.1.0", 2000, 0, ""},
		{string(kernel.KindFentry), string(kernel.KindFentry), "6.1.0", 2000, 0, ""},
		{string(kernel.KindTracepoint), string(kernel.KindTracepoint), "6.1.0", 2000, 0, ""},
		{string(kernel.KindFentry), string(kernel.KindKprobe), "6.1.0", 2000, 0, "want an attached fentry"},
		{string(kernel.KindAuto), string(kernel.KindTracepoint), "6.1.0", 2000, 0, "want an attached kprobe"},
		{string(kernel.KindTracepoint), string(kernel.KindTracepoint), "6.1.0", 1999, 0, "1999 hits"},
		{string(kernel.KindTracepoint), string(kernel.KindTracepoint), "7.2.13", 1999, 0, "1999 hits"},
		{string(kernel.KindTracepoint), string(kernel.KindTracepoint), "7.2.13", 1999, 3, ""},
		{string(kernel.KindTracepoint), string(kernel.KindTracepoint), "7.2.13", 2001, 3, "2001 hits"},
		{string(kernel.KindFentry), string(kernel.KindFentry), "7.2.13", 1999, 3, "1999 hits"},
	} {
		r := goodRecording()
		r.Host.Kernel, r.Losses.RecursionMisses = c.kernel, c.misses
		for i := range 3 {
			r.Hooks[i].Kind, r.Hooks[i].Hits = c.kind, 0
		}
		r.Hooks[1].Hits, r.Hooks[2].Hits = c.hits, c.hits
		err := checkRecording(r, c.hooks, 20, 2000)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error is %v", c, err)
		}
	}
}

func TestMissedRunsExcuseNothingButTheTrace(t *testing.T) {
	for name, spoil := range map[string]func(*recording.Recording){
		"a lost event":               func(r *recording.Recording) { r.Losses.RingFull = 1 },
		"an object the walk lacks":   func(r *recording.Recording) { r.Endpoints[0].Objects[0].Count-- },
		"an endpoint the walk lacks": func(r *recording.Recording) { r.Endpoints[1].Count-- },
		"a connect the kprobe lacks": func(r *recording.Recording) { r.Hooks[0].Hits-- },
		"nothing for trace and walk": func(r *recording.Recording) { r.Trace.Types = nil },
	} {
		r := goodRecording()
		r.Host.Kernel, r.Losses.RecursionMisses = "7.2.13", 3
		spoil(r)
		if err := checkRecording(r, string(kernel.KindAuto), 20, 2000); err == nil {
			t.Errorf("%s: passed", name)
		}
	}
}
