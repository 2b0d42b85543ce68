package report_test

import (
	"io"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/sample"
	"github.com/connprof/connprof/internal/report/text"
)

func TestEndsOnOneKernelAreHeldAgainstItTogether(t *testing.T) {
	r := sample.OneKernel()
	shown := textOf(t, r)
	sample.Has(t, shown, "both ends share one kernel", "nothing lost · +1.0 % of slab unexplained · trace and walk agree",
		"Account against the kernel's own figures of both ends, which share a kernel slab growth 158.1 MiB",
		"accounted 156.6 MiB (164,167,578 B)")
	if n := strings.Count(shown, "slab growth  "); n != 1 {
		t.Errorf("the growth of one kernel is there %d times", n)
	}
	page := htmlOf(t, r)
	if strings.Count(page, ">slab growth<") != 1 || strings.Count(page, `class="timeline-data"`) != 1 ||
		!strings.Contains(page, "both ends share one kernel") {
		t.Error("the page shows one kernel twice, or does not say that it is one")
	}
}

func TestARecordingOfOneEndSaysThatTheOtherIsMissing(t *testing.T) {
	client, server := sample.Ends()
	client.Interrupted = "connprof serve is gone: the report has this end only"
	shown := textOf(t, client)
	sample.Has(t, shown, "One client endpoint costs 4.07 KiB of slab pages the client's end only 20,000",
		"established · without the server's account · nothing lost",
		"ends the client's end only: the server's account is not in this recording", "host web-1 · Linux",
		"21.0 MiB resident in user space, the client's", "interrupted connprof serve is gone")
	if strings.Contains(shown, "One connection costs") {
		t.Error("one end was called a connection")
	}
	for _, want := range []string{"This is the client&#39;s end only: the server&#39;s account is not",
		"Interrupted: connprof serve is gone"} {
		if page := htmlOf(t, client); !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	shown = textOf(t, server)
	sample.Has(t, shown, "One server endpoint costs 3.94 KiB of slab pages the server's end only",
		"ends the server's end only: the client's account is not in this recording", "agree on all 10 figures",
		"13.0 MiB resident in user space, the server's")
	if strings.Contains(shown, "without the") || strings.Contains(htmlOf(t, server), "This is the server") {
		t.Error("the server's own recording is called incomplete: the client has it whole")
	}
	if text := textOf(t, sample.New()); strings.Contains(text, "end only") {
		t.Error("a recording of one host with both ends is called incomplete")
	}
}

// connprof serve --no-profile says what machine it ran on, and makes no account.
func TestAServerThatMadeNoAccountIsNotTakenForOneThatFoundNothing(t *testing.T) {
	r, server := sample.Ends()
	server.Machines[0].Host.Boot = r.Machines[0].Host.Boot
	far := server.Machines[0]
	r.Add(&recording.Recording{Machines: []*recording.Machine{{Name: far.Name, Host: far.Host, Load: far.Load}}})
	shown := textOf(t, r)
	sample.Has(t, shown, "One client endpoint costs 4.07 KiB of slab pages the client's end only 20,000",
		"established · without the server's account · nothing lost", "server db-7 · Linux",
		"both ends share one kernel, whose slab growth is that of both",
		"ends the client's end only: the server made no account of its own",
		"Account against the kernel's own figures client web-1 slab growth", "client web-1: agree on all 12 figures")
	for _, not := range []string{"Hooks server", "nothing to compare", "on either machine", "No call paths",
		"account of both"} {
		if strings.Contains(strings.Join(strings.Fields(shown), " "), not) {
			t.Errorf("%q of a machine that did not measure:\n%s", not, shown)
		}
	}
	if page := htmlOf(t, r); !strings.Contains(page, "the server made no account of its own") ||
		strings.Contains(page, "Losses <span>server") {
		t.Error("the page does not say that the server made no account, or shows its losses")
	}
	diff := report.Compare(sample.New(), r)
	sample.Has(t, sample.Render(t, func(w io.Writer) error { return text.Format{}.WriteDiff(w, diff) }), "machines one client only")
}

func TestWhatWentWrongOnEitherMachineIsShown(t *testing.T) {
	r := sample.TwoMachines()
	r.Interrupted, r.Machines[1].Interrupted = "SIGINT", "connprof serve was interrupted"
	r.Machines[0].Load.Failures = []recording.Failure{{Step: "connect", Error: "connection refused", Count: 3}}
	r.Machines[1].Load.Failures = []recording.Failure{{Step: "accept", Error: "too many open files", Count: 5}}
	r.Machines[1].Load.Established, r.Machines[1].Load.Failed = 19_995, 5
	r.Machines[0].Losses.WalkSkipped, r.Machines[1].Version = 4, "0.0.9"
	page := htmlOf(t, r)
	sample.Has(t, textOf(t, r), "interrupted SIGINT", "interrupted server db-7: connprof serve was",
		"19,995 by the server's count, 5 failed", "client web-1: 3 × connect: connection refused",
		"server db-7: 5 × accept: too many open files", "19,995 of 20,000 established · 11 events lost ·",
		"Losses client web-1 walk 4 endpoints", "connprof 0.1.0, the server's 0.0.9")
	for _, want := range []string{"Interrupted: SIGINT", "Interrupted: server db-7: connprof serve was",
		"5 × accept: too many open files"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
