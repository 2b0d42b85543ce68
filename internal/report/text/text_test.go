package text

import (
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/sample"
	"github.com/connprof/connprof/internal/terminal"
)

func textOf(t *testing.T, r *recording.Recording, f Format) string {
	t.Helper()
	return rendered(t, f, report.New(r))
}

func rendered(t *testing.T, f Format, r *report.Report) string {
	t.Helper()
	return sample.Render(t, func(w io.Writer) error { return f.Write(w, r) })
}

func diffOf(t *testing.T, older, newer *recording.Recording) string {
	t.Helper()
	return sample.Render(t, func(w io.Writer) error { return Format{}.WriteDiff(w, report.Compare(older, newer)) })
}

func TestTextAnswersFirst(t *testing.T) {
	first, rest, _ := strings.Cut(textOf(t, sample.New(), Format{}), "\n")
	if want := "One connection costs 8.02 KiB of slab pages   8,208.2 B = 4.07 KiB client + 3.94 KiB server"; first != want {
		t.Errorf("first line is %q, want %q", first, want)
	}
	second, _, _ := strings.Cut(rest, "\n")
	want := "20,000 of 20,000 established · nothing lost · +1.0 % of slab unexplained · trace and walk agree"
	if second != want {
		t.Errorf("second line is %q, want %q", second, want)
	}
}

func TestTextAnswersForListenersWhereTheyAreTheSubject(t *testing.T) {
	r := sample.New()
	r.Machines[0].Endpoints = []recording.EndpointRow{{Role: kernel.RoleListener, State: "LISTEN", Count: 2, PageBytes: 8192}}
	sample.Has(t, textOf(t, r, Format{}), "No connection was accounted for")
	r.Machines[0].Load.Scenario = "listen"
	sample.Has(t, textOf(t, r, Format{}), "One listener costs 4.00 KiB of slab pages")
}

func TestTextSaysEverythingOfAGoodRun(t *testing.T) {
	sample.Has(t, textOf(t, sample.New(), Format{}),
		"command connprof run --ips 20 --conns 20k",
		"Linux 6.18.5 x86_64 · 2 CPUs · 24.0 GiB of memory",
		"recorded 2026-10-20 09:30:00 UTC",
		"connect tracepoint inet_sock_set_state 20,000 hits kprobe: CONFIG_KPROBES is not set",
		"established 20,000 of 20,000 requested, 0 failed",
		"0.46 s at 43,290 connections/s",
		"20 client addresses, 1,000 connections each × 1 server port",
		"tcp_sock TCP 20,000 2,368 1 2,520.6 60.4 %",
		"inet_bind_bucket eventpoll_epi 1,000 128 0.05 6.4 0.2 %",
		"total 3,982.4 4,171.3 4.07 KiB",
		"together 8,208.2 B 8.02 KiB slab pages",
		"queued data 0.0 B",
		"kmalloc-64 +9,216 0 +9,216 +576.0 KiB 0 B +576.0 KiB",
		"agree on all 22 figures",
		"Losses none",
		"process 38.0 MiB resident",
		"BPF maps 9.00 MiB",
		"1.20 KiB, over 40,001 endpoints",
		"1,634 stacks sampled, one in about 256 allocations",
		"· slab caches of one size are merged",
	)
}

func TestTextHidesNothingOfABadRun(t *testing.T) {
	sample.Has(t, textOf(t, sample.Troubled(), Format{}),
		"interrupted SIGINT after 11,200",
		"connect kprobe tcp_v4_connect not attached",
		"11,200 of 20,000 requested, 40 failed",
		"40 × connect: cannot assign requested address",
		"disagree on 2 of 22 figures",
		"client endpoints 19,988 20,000 −12 by the trace (−0.06 %)",
		"client epitem 20,412 20,000 +412 by the trace (+2.1 %)",
		"ring full 12 events",
		"walk 3 endpoints",
		"together 8,361.8 B",
	)
}

func TestEveryLossIsPrintedInAWarningColour(t *testing.T) {
	r := sample.New()
	r.Machines[0].Losses = recording.Losses{RingFull: 11, MapFull: 12, RecursionMisses: 13, StackFailures: 14, WalkSkipped: 15}
	text := textOf(t, r, Format{Color: true})
	for _, n := range []string{"11 ", "12 ", "13 ", "14 ", "15 ", "65 events lost"} {
		if !strings.Contains(text, string(terminal.Warning)+n) {
			t.Errorf("no warning that starts with %q in:\n%s", n, text)
		}
	}
}

func TestSlabThatShrankGivesNoShare(t *testing.T) {
	r := sample.New()
	r.Machines[0].Reconcile.SlabDeltaBytes = -4096
	sample.Has(t, textOf(t, r, Format{}), "slab growth −4.00 KiB (−4,096 B)", "no share: slab did not grow")
}

func TestAccountAboveSlabGrowthIsNegative(t *testing.T) {
	r := sample.New()
	r.Machines[0].Reconcile.SlabDeltaBytes = r.Machines[0].Reconcile.AccountedPageBytes - 4<<20
	sample.Has(t, textOf(t, r, Format{}), "unexplained −4.00 MiB, −2.6 % of the growth")
}

func TestOnlyTheCachesFurthestApartAreListedUnlessAllAreAskedFor(t *testing.T) {
	few, all := textOf(t, sample.New(), Format{}), textOf(t, sample.New(), Format{AllCaches: true})
	sample.Has(t, few, "and 6 more caches")
	if strings.Contains(all, "more caches") || strings.Count(all, "ep_head") != 3 || strings.Count(few, "ep_head") != 2 {
		t.Errorf("ep_head, the cache least apart, should be listed only on demand")
	}
}

func TestHalfClosedConnectionsAreNamedByTheirState(t *testing.T) {
	r := sample.New()
	r.Machines[0].Endpoints[0].State, r.Machines[0].Endpoints[1].State = "FIN_WAIT2", "CLOSE_WAIT"
	sample.Has(t, textOf(t, r, Format{}), "4.07 KiB FIN_WAIT2 client + 3.94 KiB CLOSE_WAIT server")
}

func TestOneEndAloneIsNotCalledAConnection(t *testing.T) {
	r := sample.New()
	r.Machines[0].Endpoints = r.Machines[0].Endpoints[:1]
	text := textOf(t, r, Format{})
	sample.Has(t, text, "One client endpoint costs 4.07 KiB of slab pages")
	if strings.Contains(text, "One connection costs") {
		t.Error("one end was called a connection")
	}
}

func TestTextKeepsToAHundredColumns(t *testing.T) {
	for name, r := range map[string]*recording.Recording{"sample": sample.New(), "troubled": sample.Troubled(), "a million": sample.Of(1_000_000)} {
		for _, line := range strings.Split(textOf(t, r, Format{})+diffOf(t, sample.New(), r), "\n") {
			if n := utf8.RuneCountInString(line); n > terminal.Width {
				t.Errorf("%s: %d columns: %s", name, n, line)
			}
		}
	}
}

func TestColourChangesNoCharacter(t *testing.T) {
	coloured := textOf(t, sample.Troubled(), Format{Color: true})
	for _, s := range []terminal.Style{terminal.Bold, terminal.Dim, terminal.Warning, terminal.Good, terminal.Blue, "\x1b[0m"} {
		coloured = strings.ReplaceAll(coloured, string(s), "")
	}
	trim := func(s string) string {
		lines := strings.Split(s, "\n")
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " ")
		}
		return strings.Join(lines, "\n")
	}
	if trim(coloured) != textOf(t, sample.Troubled(), Format{}) {
		t.Error("text with colours differs from text without")
	}
}

func TestTextShowsAPortThatSeveralConnectionsUse(t *testing.T) {
	r := sample.New()
	sample.Has(t, textOf(t, r, Format{}), "client ports 1,000 in use, each by up to 20 connections at the same time",
		"port 1024, for one: 10.77.0.1:1024 … 10.77.0.20:1024 → 10.77.1.1:8090")
	r.Machines[0].ClientPorts = nil
	if text := textOf(t, r, Format{}); strings.Contains(text, "client ports") {
		t.Error("client ports without any")
	}
}

func TestTextSaysWhichConnectionsWereTraced(t *testing.T) {
	r := sample.New()
	r.Machines[0].Trace.BatchConnections = 5000
	sample.Has(t, textOf(t, r, Format{}), "agree on all 22 figures; opens are those of all connections, allocations those of the",
		"first 5,000, each of which was traced", "one in about 256 allocations for the first 5,000")
	r.Machines[0].Trace.BatchConnections = r.Machines[0].Load.Established
	if text := textOf(t, r, Format{}); strings.Contains(text, "of the first") {
		t.Errorf("a batch that is the whole run is set apart:\n%s", text)
	}
}

func TestTextShowsWhatTheConnectionsNeed(t *testing.T) {
	r := sample.New()
	if text := textOf(t, r, Format{}); strings.Contains(text, "connections need") {
		t.Error("a plan without any")
	}
	r.Machines[0].Trace.BatchConnections = 5000
	r.Machines[0].Plan = []recording.PlanRow{
		{Limit: "memory", Where: "MemAvailable", Unit: "bytes", Need: 160 << 20, Have: 20 << 30, Verdict: "ok"},
		{Limit: "orphans", Where: "net.ipv4.tcp_max_orphans", Need: 20_910, Have: 8_192, Verdict: "warns"}}
	sample.Has(t, textOf(t, r, Format{}), "What 20,000 connections need by the cost of the first 5,000",
		"memory MemAvailable 160.0 MiB 20.0 GiB ok", "orphans net.ipv4.tcp_max_orphans 20,910 8,192 warns")
}
