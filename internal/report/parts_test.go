package report

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
)

func TestTextAnswersForBothMachinesFirst(t *testing.T) {
	text := textOf(t, twoMachines(), TextOptions{})
	want := "One connection costs 8.02 KiB of slab pages   8,208.2 B = 4.07 KiB client + 3.94 KiB server\n" +
		"20,000 of 20,000 established · 7 lost · slab unexplained: +1.0 % client, −2.0 % server\n" +
		"trace and walk agree\n\n"
	if !strings.HasPrefix(text, want) {
		t.Errorf("the answer is not\n%s but\n%s", want, text[:min(len(text), len(want)+80)])
	}
}

func TestTextSaysEverythingOfBothMachines(t *testing.T) {
	wantLines(t, textOf(t, twoMachines(), TextOptions{}),
		"command connprof run --target db-7:8090 --token TOKEN --ips 20 --conns 20k connprof serve --token TOKEN",
		"client web-1 · Linux 6.18.5 x86_64 · 2 CPUs · 24.0 GiB of memory",
		"server db-7 · Linux 6.12.117 aarch64 · 64 CPUs · 512.0 GiB of memory",
		"Hooks client web-1 connect tracepoint",
		"server db-7 connect tracepoint inet_sock_set_state 20,000 hits",
		"accept kretprobe inet_csk_accept 20,000 hits",
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
	r := twoMachines()
	near(r).Trace.BatchConnections, far(r).Trace.BatchConnections = 5000, 5000
	text := textOf(t, r, TextOptions{})
	wantLines(t, text, "trace and walk agree", "Opens are those of all connections, allocations those of the first 5,000")
	if n := strings.Count(strings.ToLower(text), "opens are those"); n != 1 {
		t.Errorf("what both traces are of is said %d times", n)
	}
	far(r).Trace.BatchConnections = 4000
	wantLines(t, textOf(t, r, TextOptions{}),
		"all 12 figures; opens are those of all connections, allocations those of the first 5,000",
		"all 10 figures; opens are those of all connections, allocations those of the first 4,000")
	far(r).Trace.ServerOpens -= 3
	wantLines(t, textOf(t, r, TextOptions{}), "trace and walk disagree at the server", "db-7: disagree on 1 of 10 figures",
		"web-1: agree on all 12 figures", "server endpoints 19,997 20,000 −3 by the trace (−0.01 %)")
	near(r).Trace.ClientOpens++
	wantLines(t, textOf(t, r, TextOptions{}), "trace and walk disagree Run", "client endpoints 20,001 20,000 +1 by the trace")
}

func TestWhatIsTheSameOnBothMachinesIsSaidOnce(t *testing.T) {
	r := twoMachines()
	far(r).Hooks = sampleHooks(300)
	far(r).Losses = recording.Losses{}
	text := textOf(t, r, TextOptions{})
	wantLines(t, text, "Hooks client web-1 and server db-7 alike client hits server hits connect tracepoint "+
		"inet_sock_set_state 20,000 300 kprobe: CONFIG_KPROBES", "walk iterator tcp 40,001 601",
		"Losses none, on either machine", "nothing lost")
	if n := strings.Count(text, "slab caches of one size are merged"); n != 1 {
		t.Errorf("a note of both machines is there %d times", n)
	}
	far(r).Hooks[3].Attached, near(r).Hooks[3].Attached = false, false
	wantLines(t, textOf(t, r, TextOptions{}), "tcp_destroy_sock not attached not attached")
}

func TestEndsOnOneKernelAreHeldAgainstItTogether(t *testing.T) {
	r := oneKernel()
	text := textOf(t, r, TextOptions{})
	wantLines(t, text, "both ends share one kernel", "nothing lost · +1.0 % of slab unexplained · trace and walk agree",
		"Account against the kernel's own figures of both ends, which share a kernel slab growth 158.1 MiB",
		"accounted 156.6 MiB (164,167,578 B)")
	if n := strings.Count(text, "slab growth  "); n != 1 {
		t.Errorf("the growth of one kernel is there %d times", n)
	}
	page := htmlOf(t, r)
	if strings.Count(page, ">slab growth<") != 1 || strings.Count(page, `class="timeline-data"`) != 1 ||
		!strings.Contains(page, "both ends share one kernel") {
		t.Error("the page shows one kernel twice, or does not say that it is one")
	}
}

func TestARecordingOfOneEndSaysThatTheOtherIsMissing(t *testing.T) {
	client, server := ends()
	client.Interrupted = "connprof serve is gone: the report has this end only"
	text := textOf(t, client, TextOptions{})
	wantLines(t, text, "One client endpoint costs 4.07 KiB of slab pages the client's end only 20,000",
		"established · without the server's account · nothing lost",
		"ends the client's end only: the server's account is not in this recording", "host web-1 · Linux",
		"21.0 MiB resident in user space, the client's", "interrupted connprof serve is gone")
	if strings.Contains(text, "One connection costs") {
		t.Error("one end was called a connection")
	}
	for _, want := range []string{"This is the client&#39;s end only: the server&#39;s account is not",
		"Interrupted: connprof serve is gone"} {
		if page := htmlOf(t, client); !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	text = textOf(t, server, TextOptions{})
	wantLines(t, text, "One server endpoint costs 3.94 KiB of slab pages the server's end only",
		"ends the server's end only: the client's account is not in this recording", "agree on all 10 figures",
		"13.0 MiB resident in user space, the server's")
	if strings.Contains(text, "without the") || strings.Contains(htmlOf(t, server), "This is the server") {
		t.Error("the server's own recording is called incomplete: the client has it whole")
	}
	if text := textOf(t, sample(), TextOptions{}); strings.Contains(text, "end only") {
		t.Error("a recording of one host with both ends is called incomplete")
	}
}

// connprof serve --no-profile says what machine it ran on, and makes no account.
func TestAServerThatMadeNoAccountIsNotTakenForOneThatFoundNothing(t *testing.T) {
	r, server := ends()
	near(server).Host.Boot = near(r).Host.Boot
	r.Join(&recording.Recording{Host: near(server).Host, Load: near(server).Load})
	near(r).Load.End = kernel.RoleClient
	text := textOf(t, r, TextOptions{})
	wantLines(t, text, "One client endpoint costs 4.07 KiB of slab pages the client's end only 20,000",
		"established · without the server's account · nothing lost", "server db-7 · Linux",
		"both ends share one kernel, whose slab growth is that of both",
		"ends the client's end only: the server made no account of its own",
		"Account against the kernel's own figures client web-1 slab growth", "client web-1: agree on all 12 figures")
	for _, not := range []string{"Hooks server", "nothing to compare", "on either machine", "No call paths",
		"account of both"} {
		if strings.Contains(strings.Join(strings.Fields(text), " "), not) {
			t.Errorf("%q of a machine that did not measure:\n%s", not, text)
		}
	}
	if page := htmlOf(t, r); !strings.Contains(page, "the server made no account of its own") ||
		strings.Contains(page, "Losses <span>server") {
		t.Error("the page does not say that the server made no account, or shows its losses")
	}
	wantLines(t, diffOf(t, sample(), r), "machines one client only")
}

func TestWhatWentWrongOnEitherMachineIsShown(t *testing.T) {
	r := twoMachines()
	r.Interrupted, far(r).Interrupted = "SIGINT", "connprof serve was interrupted"
	near(r).Load.Failures = []recording.Failure{{Step: "connect", Error: "connection refused", Count: 3}}
	far(r).Load.Failures = []recording.Failure{{Step: "accept", Error: "too many open files", Count: 5}}
	far(r).Load.Established, far(r).Load.Failed = 19_995, 5
	near(r).Losses.WalkSkipped, far(r).Version = 4, "0.0.9"
	page := htmlOf(t, r)
	wantLines(t, textOf(t, r, TextOptions{}), "interrupted client web-1: SIGINT", "interrupted server db-7: connprof serve was",
		"19,995 by the server's count, 5 failed", "client web-1: 3 × connect: connection refused",
		"server db-7: 5 × accept: too many open files", "· 11 lost ·",
		"Losses client web-1 walk 4 endpoints", "connprof 0.1.0, the server's 0.0.9")
	for _, want := range []string{"Interrupted: client web-1: SIGINT", "Interrupted: server db-7: connprof serve was",
		"5 × accept: too many open files"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	far(r).Interrupted = "SIGINT"
	if n := strings.Count(textOf(t, r, TextOptions{}), "SIGINT"); n != 1 {
		t.Errorf("one reason is given %d times", n)
	}
}

func TestThePageShowsBothMachines(t *testing.T) {
	r := twoMachines()
	near(r).Trace.CallSites = []recording.CallSite{{Function: "sk_prot_alloc", Cache: "TCP", Allocs: 5000}}
	far(r).Trace.CallSites = []recording.CallSite{{Function: "sk_clone", Cache: "TCP", Allocs: 5000}}
	page := htmlOf(t, r)
	for want, times := range map[string]int{
		"web-1 to db-7 · Linux 6.18.5 x86_64, 6.12.117 aarch64":              1,
		"Account against the kernel's own figures <span>client web-1</span>": 1,
		"Account against the kernel's own figures <span>server db-7</span>":  1,
		"Losses <span>server db-7</span>":                                    1,
		"7 events for which the ring had no room":                            1,
		"Slab caches <span>server db-7</span>":                               1,
		"What the connections need <span>client web-1</span>":                1,
		"What the connections need <span>server db-7</span>":                 1,
		"Cost of the profiler <span>server db-7</span>":                      1,
		"client web-1: agree on all 12 figures.":                             1,
		"server db-7: agree on all 10 figures.":                              1,
		"<div class=\"label\">unexplained client</div>":                      1,
		"<div class=\"label\">unexplained server</div>":                      1,
		"<h4>server db-7</h4>":                                               1,
		"inet_csk_accept":                                                    1,
		"server db-7: 1 call site that allocated or freed":                   1,
		"both machines: slab caches of one size":                             1,
		"class=\"timeline-data\"":                                            2,
		"<div class=\"timeline\"":                                            2,
	} {
		if n := strings.Count(page, want); n != times {
			t.Errorf("%d times %q in the page, want %d", n, want, times)
		}
	}
}

// What the ends were is the same on one machine and on two, so every format that is about the ends must be, too.
func TestProfilesOfTwoMachinesAddUpToTheAccountOfBoth(t *testing.T) {
	for _, format := range []string{"folded", "speedscope", "csv"} {
		var one, two bytes.Buffer
		if err := renderers[format](&one, sample()); err != nil {
			t.Fatal(err)
		}
		if err := renderers[format](&two, twoMachines()); err != nil {
			t.Fatal(err)
		}
		if one.String() != two.String() {
			t.Errorf("%s: the ends of one machine and of two differ", format)
		}
	}
	p := profileOf(t, func(b *bytes.Buffer) error { return Pprof(b, twoMachines()) })
	got := map[string]uint64{}
	for _, s := range p.Sample {
		got[s.Label["role"][0]+" "+s.Label["type"][0]] += uint64(s.Value[1])
	}
	compareSums(t, got, pageBytesByType(sample()))
	if want := "Linux 6.18.5 x86_64, 6.12.117 aarch64"; !strings.Contains(p.Comments[0], want) {
		t.Errorf("the profile's comment is %q, want %q in it", p.Comments[0], want)
	}
}

func TestARunOfTwoMachinesIsComparedWithOneOfASingle(t *testing.T) {
	text := diffOf(t, sample(), twoMachines())
	wantLines(t, text, "nothing changed", "machines one client web-1, server db-7",
		"kernel 6.18.5 x86_64 6.18.5 x86_64, 6.12.117 aarch64", "unexplained +1.0 % +1.0 % client, −2.0 % server", "lost 0 7",
		"the new recording lost 7 events")
	bad := twoMachines()
	far(bad).Reconcile.SlabDeltaBytes *= 2
	wantLines(t, diffOf(t, bad, oneKernel()), "machines client web-1, server db-7 two on one kernel",
		"the old recording leaves slab growth unexplained: +1.0 % client, +49.0 % server")
	_, server := ends()
	wantLines(t, diffOf(t, twoMachines(), server), "machines client web-1, server db-7 server only",
		"the recordings do not hold the same ends of a connection")
	if text := diffOf(t, sample(), sample()); strings.Contains(text, "machines") {
		t.Error("machines are told apart where there is one on each side")
	}
}

func TestTheTableOfScenariosHasBothKernels(t *testing.T) {
	var b bytes.Buffer
	r := twoMachines()
	near(r).Endpoints = append(near(r).Endpoints, recording.EndpointRow{Role: kernel.RoleClient, State: "FIN_WAIT2", Count: 5})
	if err := Scenarios(&b, []*recording.Recording{r}, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	wantLines(t, b.String(), "idle client ESTABLISHED 20,000 3,982.4 4,171.3 0.0 +1.0 %",
		"server ESTABLISHED 20,000 3,848.0 4,036.9 0.0 −2.0 %")
	if n := strings.Count(b.String(), " %"); n != 2 {
		t.Errorf("%d shares for two kernels:\n%s", n, b.String())
	}
}

func TestLongHostNamesKeepToAHundredColumns(t *testing.T) {
	r := twoMachines()
	near(r).Name, far(r).Name = strings.Repeat("a", 64), strings.Repeat("b", 64)
	alike := twoMachines()
	near(alike).Name, far(alike).Name, far(alike).Hooks = near(r).Name, far(r).Name, near(alike).Hooks
	for _, r := range []*recording.Recording{r, alike} {
		for _, line := range strings.Split(textOf(t, r, TextOptions{})+diffOf(t, sample(), r), "\n") {
			if n := len([]rune(line)); n > textWidth {
				t.Errorf("%d columns: %s", n, line)
			}
		}
	}
}

func TestRenderingLeavesBothMachinesAsTheyAre(t *testing.T) {
	r := twoMachines()
	for format, render := range renderers {
		var first, second bytes.Buffer
		if err := render(&first, r); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(r, twoMachines()) {
			t.Fatalf("%s changed the recording", format)
		}
		if err := render(&second, twoMachines()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("%s differs from one time to the next", format)
		}
	}
}
