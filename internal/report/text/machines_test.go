package text

import (
	"io"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/sample"
	"github.com/connprof/connprof/internal/terminal"
)

func TestTextAnswersForBothMachinesFirst(t *testing.T) {
	text := textOf(t, sample.TwoMachines(), Format{})
	want := "One connection costs 8.02 KiB of slab pages   8,208.2 B = 4.07 KiB client + 3.94 KiB server\n" +
		"20,000 of 20,000 established · 7 events lost · slab unexplained: +1.0 % client, −2.0 % server\n" +
		"trace and walk agree\n\n"
	if !strings.HasPrefix(text, want) {
		t.Errorf("the answer is not\n%s but\n%s", want, text[:min(len(text), len(want)+80)])
	}
}

func TestTextSaysEverythingOfBothMachines(t *testing.T) {
	sample.Has(t, textOf(t, sample.TwoMachines(), Format{}),
		"command connprof run --target db-7:8090 --token TOKEN --ips 20 --conns 20k connprof serve --token TOKEN",
		"client web-1 · Linux 6.18.5 x86_64 · 2 CPUs · 24.0 GiB of memory",
		"server db-7 · Linux 6.12.117 aarch64 · 64 CPUs · 512.0 GiB of memory",
		"Hooks client web-1 connect tracepoint",
		"server db-7 connect tracepoint inet_sock_set_state 20,000 hits",
		"accept kprobe inet_csk_accept 20,000 hits",
		"34.0 MiB resident in user space, 21.0 MiB client + 13.0 MiB server",
		"client web-1 limit set by needed there is open files (all) fs.file-max 30,000 60,000 ok",
		"server db-7 limit set by needed there is open files (all) fs.file-max 30,000 60,000 warns",
		"Account against the kernel's own figures client web-1 slab growth 80.4 MiB",
		"server db-7 slab growth 75.5 MiB",
		"unexplained −1.54 MiB, −2.0 % of the growth",
		"client web-1: agree on all 12 figures server db-7: agree on all 10 figures",
		"Losses client web-1 none server db-7 ring full 7 events",
		"client web-1 server db-7 process 38.0 MiB resident 41.0 MiB resident",
		"2.41 KiB, over 20,000 endpoints 2.56 KiB, over 20,001 endpoints",
		"client web-1: 1,634 stacks sampled", "server db-7: 1,634 stacks sampled",
		"· both machines: slab caches of one size are merged",
		"· client web-1: the client's own note",
	)
}

// Nothing of one machine's may be held against the other's: the server has no connects, the client no accepted ends.
func TestTheTraceIsHeldAgainstTheWalkOfItsOwnMachine(t *testing.T) {
	r := sample.TwoMachines()
	r.Machines[0].Trace.BatchConnections, r.Machines[1].Trace.BatchConnections = 5000, 5000
	text := textOf(t, r, Format{})
	sample.Has(t, text, "trace and walk agree", "Opens are those of all connections, allocations those of the first 5,000")
	if n := strings.Count(strings.ToLower(text), "opens are those"); n != 1 {
		t.Errorf("what both traces are of is said %d times", n)
	}
	r.Machines[1].Trace.BatchConnections = 4000
	sample.Has(t, textOf(t, r, Format{}),
		"all 12 figures; opens are those of all connections, allocations those of the first 5,000",
		"all 10 figures; opens are those of all connections, allocations those of the first 4,000")
	r.Machines[1].Trace.ServerOpens -= 3
	sample.Has(t, textOf(t, r, Format{}), "trace and walk disagree at the server", "db-7: disagree on 1 of 10 figures",
		"web-1: agree on all 12 figures", "server endpoints 19,997 20,000 −3 by the trace (−0.01 %)")
	r.Machines[0].Trace.ClientOpens++
	sample.Has(t, textOf(t, r, Format{}), "trace and walk disagree Run", "client endpoints 20,001 20,000 +1 by the trace")
}

func TestWhatIsTheSameOnBothMachinesIsSaidOnce(t *testing.T) {
	r := sample.TwoMachines()
	r.Machines[1].Hooks = sample.Hooks(300)
	r.Machines[1].Losses = recording.Losses{}
	text := textOf(t, r, Format{})
	sample.Has(t, text, "Hooks client web-1 and server db-7 alike client hits server hits connect tracepoint "+
		"inet_sock_set_state 20,000 300 kprobe: CONFIG_KPROBES", "walk iterator tcp 40,001 601",
		"Losses none, on either machine", "nothing lost")
	if n := strings.Count(text, "slab caches of one size are merged"); n != 1 {
		t.Errorf("a note of both machines is there %d times", n)
	}
	r.Machines[1].Hooks[3].Attached, r.Machines[0].Hooks[3].Attached = false, false
	sample.Has(t, textOf(t, r, Format{}), "tcp_destroy_sock not attached not attached")
}

func TestARunOfTwoMachinesIsComparedWithOneOfASingle(t *testing.T) {
	text := diffOf(t, sample.New(), sample.TwoMachines())
	sample.Has(t, text, "nothing changed", "machines one client web-1, server db-7",
		"kernel 6.18.5 x86_64 6.18.5 x86_64, 6.12.117 aarch64", "unexplained +1.0 % +1.0 % client, −2.0 % server", "events lost 0 7",
		"the new recording lost 7 events")
	bad := sample.TwoMachines()
	bad.Machines[1].Reconcile.SlabDeltaBytes *= 2
	sample.Has(t, diffOf(t, bad, sample.OneKernel()), "machines client web-1, server db-7 two on one kernel",
		"the old recording leaves slab growth unexplained: +1.0 % client, +49.0 % server")
	_, server := sample.Ends()
	sample.Has(t, diffOf(t, sample.TwoMachines(), server), "machines client web-1, server db-7 server only",
		"the recordings do not hold the same ends of a connection")
	if text := diffOf(t, sample.New(), sample.New()); strings.Contains(text, "machines") {
		t.Error("machines are told apart where there is one on each side")
	}
}

func TestTheTableOfScenariosHasBothKernels(t *testing.T) {
	r := sample.TwoMachines()
	r.Machines[0].Endpoints = append(r.Machines[0].Endpoints, recording.EndpointRow{Role: kernel.RoleClient, State: "FIN_WAIT2", Count: 5})
	text := sample.Render(t, func(w io.Writer) error {
		return Format{}.WriteScenarios(w, report.Scenarios([]*recording.Recording{r}))
	})
	sample.Has(t, text, "idle client ESTABLISHED 20,000 3,982.4 4,171.3 0.0 +1.0 %",
		"server ESTABLISHED 20,000 3,848.0 4,036.9 0.0 −2.0 %")
	if n := strings.Count(text, " %"); n != 2 {
		t.Errorf("%d shares for two kernels:\n%s", n, text)
	}
}

func TestLongHostNamesKeepToAHundredColumns(t *testing.T) {
	r := sample.TwoMachines()
	r.Machines[0].Name, r.Machines[1].Name = strings.Repeat("a", 64), strings.Repeat("b", 64)
	alike := sample.TwoMachines()
	alike.Machines[0].Name, alike.Machines[1].Name, alike.Machines[1].Hooks = r.Machines[0].Name, r.Machines[1].Name, alike.Machines[0].Hooks
	for _, r := range []*recording.Recording{r, alike} {
		for _, line := range strings.Split(textOf(t, r, Format{})+diffOf(t, sample.New(), r), "\n") {
			if n := len([]rune(line)); n > terminal.Width {
				t.Errorf("%d columns: %s", n, line)
			}
		}
	}
}
