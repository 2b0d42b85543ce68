package report

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/connprof/connprof/internal/recording"
)

func textOf(t *testing.T, r *recording.Recording, opts TextOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := Text(&b, r, opts); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// wantLines fails for each line that the text has not, blanks squeezed.
func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	squeezed := strings.Join(strings.Fields(text), " ")
	for _, line := range lines {
		if !strings.Contains(squeezed, line) {
			t.Errorf("the text lacks %q:\n%s", line, text)
		}
	}
}

func TestTextAnswersFirst(t *testing.T) {
	first, rest, _ := strings.Cut(textOf(t, sample(), TextOptions{}), "\n")
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
	r := sample()
	near(r).Endpoints = []recording.EndpointRow{{Role: kernel.RoleListener, State: "LISTEN", Count: 2, PageBytes: 8192}}
	wantLines(t, textOf(t, r, TextOptions{}), "No connection was accounted for")
	near(r).Load.Scenario = "listen"
	wantLines(t, textOf(t, r, TextOptions{}), "One listener costs 4.00 KiB of slab pages")
}

func TestTextSaysEverythingOfAGoodRun(t *testing.T) {
	wantLines(t, textOf(t, sample(), TextOptions{}),
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
	wantLines(t, textOf(t, troubled(t), TextOptions{}),
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
	r := sample()
	near(r).Losses = recording.Losses{RingFull: 11, MapFull: 12, RecursionMisses: 13, StackFailures: 14, WalkSkipped: 15}
	text := textOf(t, r, TextOptions{Color: true})
	for _, n := range []string{"11 ", "12 ", "13 ", "14 ", "15 ", "65 lost"} {
		if !strings.Contains(text, string(warning)+n) {
			t.Errorf("no warning that starts with %q in:\n%s", n, text)
		}
	}
}

func TestSlabThatShrankGivesNoShare(t *testing.T) {
	r := sample()
	near(r).Reconcile.SlabDeltaBytes = -4096
	wantLines(t, textOf(t, r, TextOptions{}), "slab growth −4.00 KiB (−4,096 B)", "no share: slab did not grow")
}

func TestAccountAboveSlabGrowthIsNegative(t *testing.T) {
	r := sample()
	near(r).Reconcile.SlabDeltaBytes = near(r).Reconcile.AccountedPageBytes - 4<<20
	wantLines(t, textOf(t, r, TextOptions{}), "unexplained −4.00 MiB, −2.6 % of the growth")
}

func TestOnlyTheCachesFurthestApartAreListedUnlessAllAreAskedFor(t *testing.T) {
	few, all := textOf(t, sample(), TextOptions{}), textOf(t, sample(), TextOptions{AllCaches: true})
	wantLines(t, few, "and 6 more caches")
	if strings.Contains(all, "more caches") || strings.Count(all, "ep_head") != 3 || strings.Count(few, "ep_head") != 2 {
		t.Errorf("ep_head, the cache least apart, should be listed only on demand")
	}
}

func TestHalfClosedConnectionsAreNamedByTheirState(t *testing.T) {
	r := sample()
	near(r).Endpoints[0].State, near(r).Endpoints[1].State = "FIN_WAIT2", "CLOSE_WAIT"
	wantLines(t, textOf(t, r, TextOptions{}), "4.07 KiB FIN_WAIT2 client + 3.94 KiB CLOSE_WAIT server")
}

func TestOneEndAloneIsNotCalledAConnection(t *testing.T) {
	r := sample()
	near(r).Endpoints = near(r).Endpoints[:1]
	text := textOf(t, r, TextOptions{})
	wantLines(t, text, "One client endpoint costs 4.07 KiB of slab pages")
	if strings.Contains(text, "One connection costs") {
		t.Error("one end was called a connection")
	}
}

func TestTextKeepsToAHundredColumns(t *testing.T) {
	for name, r := range map[string]*recording.Recording{"sample": sample(), "troubled": troubled(t), "a million": sampleOf(1_000_000)} {
		var diff bytes.Buffer
		if err := Diff(&diff, sample(), r, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(textOf(t, r, TextOptions{})+diff.String(), "\n") {
			if n := utf8.RuneCountInString(line); n > textWidth {
				t.Errorf("%s: %d columns: %s", name, n, line)
			}
		}
	}
}

func TestColourChangesNoCharacter(t *testing.T) {
	coloured := textOf(t, troubled(t), TextOptions{Color: true})
	for _, s := range []style{bold, dim, warning, good, blue, reset} {
		coloured = strings.ReplaceAll(coloured, string(s), "")
	}
	trim := func(s string) string {
		lines := strings.Split(s, "\n")
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " ")
		}
		return strings.Join(lines, "\n")
	}
	if trim(coloured) != textOf(t, troubled(t), TextOptions{}) {
		t.Error("text with colours differs from text without")
	}
}

func TestARecordingCannotDriveTheTerminal(t *testing.T) {
	client, server := ends()
	for name, r := range map[string]*recording.Recording{"one machine": sample(), "two": twoMachines(), "one kernel": oneKernel(),
		"the client's end": client, "the server's end": server} {
		r.Interrupted = "somehow"
		if r.Peer != nil {
			far(r).Interrupted = "somehow"
			far(r).Load.Failures = []recording.Failure{{Count: 1}}
		}
		end := near(r).Load.End
		forge(r, "\x1b]0;owned\x07\u202e\r\n")
		near(r).Load.End = end
		var diff bytes.Buffer
		if err := Diff(&diff, r, r, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(textOf(t, r, TextOptions{})+diff.String(), "\x1b\x07\r\u202e") {
			t.Errorf("%s: control characters of the recording reached the text", name)
		}
	}
}

func TestTextShowsAPortThatSeveralConnectionsUse(t *testing.T) {
	r := sample()
	wantLines(t, textOf(t, r, TextOptions{}), "client ports 1,000 in use, each by up to 20 connections at the same time",
		"port 1024, for one: 10.77.0.1:1024 … 10.77.0.20:1024 → 10.77.1.1:8090")
	near(r).ClientPorts = nil
	if text := textOf(t, r, TextOptions{}); strings.Contains(text, "client ports") {
		t.Error("client ports without any")
	}
}

func TestTextSaysWhichConnectionsWereTraced(t *testing.T) {
	r := sample()
	near(r).Trace.BatchConnections = 5000
	wantLines(t, textOf(t, r, TextOptions{}), "agree on all 22 figures; opens are those of all connections, allocations those of the",
		"first 5,000, each of which was traced", "one in about 256 allocations for the first 5,000")
	near(r).Trace.BatchConnections = near(r).Load.Established
	if text := textOf(t, r, TextOptions{}); strings.Contains(text, "of the first") {
		t.Errorf("a batch that is the whole run is set apart:\n%s", text)
	}
}
