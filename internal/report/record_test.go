package report

import (
	"fmt"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report/sample"
)

func TestTheSampleOfARecordAddsUp(t *testing.T) {
	m := sample.Recorded().Machines[0]
	var sum recording.Record
	live := 0
	for _, o := range m.Openers {
		live += o.Live
		if o.Kind != recording.OpenerBefore && o.Kind != recording.OpenerUnseen {
			sum.Opened, sum.Closed, sum.Failed, sum.Live = sum.Opened+o.Opened, sum.Closed+o.Closed, sum.Failed+o.Failed, sum.Live+o.Live
		}
	}
	if r := m.Record; r.Opened != sum.Opened || r.Closed != sum.Closed || r.Failed != sum.Failed || r.Live != sum.Live || r.Opened != r.Closed+r.Live {
		t.Errorf("the record is %+v, its openers %+v", r, sum)
	}
	if live != m.Count() {
		t.Errorf("%d are open by the openers, and %d by the endpoints", live, m.Count())
	}
	if s := m.Record.Stacks; s.Whole+s.Part+s.None != sum.Opened {
		t.Errorf("the stacks are of %d opens, want %d", s.Whole+s.Part+s.None, sum.Opened)
	}
}

func TestTheSentenceOfARecord(t *testing.T) {
	r := sample.Recorded()
	got := New(r).Record
	want := "In 60 s 13,031 connections were opened; 12,334 of them were closed, among these 855 that never came up; 697 are still open and hold " +
		"2.77 MiB of slab and 720.0 KiB of buffers."
	if got.Sentence != want {
		t.Errorf("it says %q", got.Sentence)
	}
	if want := "Meanwhile the host's Slab grew by 9.00 MiB: all TCP sockets grew by 3.10 MiB, the rest of the host grew by 5.90 MiB."; got.Rest != want {
		t.Errorf("of the rest it says %q", got.Rest)
	}
	m := r.Machines[0]
	m.Record.Command, m.Record.CommandStatus, m.Record.Seconds = []string{"curl", "-s", "x y"}, "exit status 7", 0.25
	m.Record.Opened, m.Record.Closed, m.Record.Failed, m.Record.Live, m.Reconcile = 1, 1, 0, 0, nil
	got = New(r).Record
	if want := "In 0.25 s of curl -s 'x y' (exit status 7) 1 connection was opened; 1 of them was closed, none failed; none is still open."; got.Sentence != want {
		t.Errorf("it says %q", got.Sentence)
	}
	if got.Rest != "" {
		t.Errorf("without a reconcile it says %q", got.Rest)
	}
	m.Record.Opened = 0
	if got := New(r).Record.Sentence; !strings.HasSuffix(got, "no connection was opened.") {
		t.Errorf("it says %q", got)
	}
}

func TestOpenersAreSortedByWhatIsStillOpen(t *testing.T) {
	rows := New(sample.Recorded()).Record.Openers.Rows
	for i := 1; i < len(rows); i++ {
		if rows[i].All() > rows[i-1].All() || rows[i].All() == rows[i-1].All() && rows[i].Live > rows[i-1].Live {
			t.Errorf("row %d holds more than the one before", i)
		}
	}
	if rows[0].Name() != "opened before" {
		t.Errorf("the first row is %s", rows[0].Name())
	}
}

func TestRowsBeyondTheBoundAreOneWithTheirSum(t *testing.T) {
	all := New(sample.Recorded()).Record.Openers.Rows
	few, err := NewWith(sample.Recorded(), Options{Rows: 2})
	if err != nil {
		t.Fatal(err)
	}
	rest := OpenerRow{}
	for _, r := range all[2:] {
		rest.Opened, rest.Closed, rest.Live, rest.Slab = rest.Opened+r.Opened, rest.Closed+r.Closed, rest.Live+r.Live, rest.Slab+r.Slab
	}
	got := few.Record.Openers.Others
	if len(few.Record.Openers.Rows) != 2 || got == nil || got.Opened != rest.Opened || got.Closed != rest.Closed || got.Live != rest.Live || got.Slab != rest.Slab {
		t.Errorf("the others are %+v, want %+v", got, rest)
	}
}

func TestOnlyWhatGrowsInEveryTenthIsSaidToGrow(t *testing.T) {
	for name, c := range map[string]struct {
		tenths []int
		kind   recording.OpenerKind
		is     bool
	}{
		"all the time":               {[]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, recording.OpenerPath, true},
		"nothing in the first":       {[]int{0, 2, 3, 4, 5, 6, 7, 8, 9, 10}, recording.OpenerPath, false},
		"a pool that has filled up":  {[]int{40, 40, 40, 40, 40, 40, 40, 40, 40, 40}, recording.OpenerPath, false},
		"a pool that takes a while":  {[]int{5, 10, 20, 39, 40, 40, 40, 40, 40, 40}, recording.OpenerPath, false},
		"up and down":                {[]int{1, 2, 3, 4, 3, 6, 7, 8, 9, 10}, recording.OpenerPath, false},
		"not ten":                    {[]int{1, 2, 3}, recording.OpenerPath, false},
		"none":                       {nil, recording.OpenerPath, false},
		"all others together":        {[]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, recording.OpenerOther, false},
		"opened before":              {[]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, recording.OpenerBefore, false},
		"a process without its code": {[]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, recording.OpenerProcess, true},
	} {
		if grew(&recording.Opener{Kind: c.kind, Tenths: c.tenths}) != c.is {
			t.Errorf("%s: want %v", name, c.is)
		}
	}
	found := New(sample.Recorded()).Record.Grows
	want := "api 4711: pool.(*Pool).dial pool.go:88 ← pool.(*Pool).Get pool.go:51 ← main.(*Handler).ServeHTTP handler.go:120 grew in each tenth of 60 s: " +
		"+28 +33 +29 +32 +27 +32 +28 +32 +31 +28; 300 still open (1.19 MiB), idle p50 30 s, CLOSE_WAIT 280, ESTABLISHED 20"
	if len(found) != 1 || found[0].Sentence != want {
		t.Errorf("found %q", found)
	}
}

func TestTheAdviceGoesByTheStateOfMost(t *testing.T) {
	for state, want := range map[string]string{"CLOSE_WAIT": "returns without close()", "SYN_SENT": "do not answer", "FIN_WAIT2": "api has closed",
		"ESTABLISHED": "Watch longer"} {
		o := &recording.Opener{Comm: "api", Live: 10, States: []recording.StateCount{{State: state, Count: 6}, {State: "CLOSE", Count: 4}}}
		if got := growAdvice(&OpenerRow{from: o}); !strings.Contains(got, want) || strings.Contains(got, "{") {
			t.Errorf("%s: %q", state, got)
		}
	}
}

func TestSocketsAreGroupedByOpener(t *testing.T) {
	shown, err := NewWith(sample.Recorded(), Options{By: []string{"opener", "state"}})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, row := range shown.Look.Owners.Rows {
		found[row.Name()] = row.Sockets
	}
	for name, n := range map[string]int{"api: pool.(*Pool).dial pool.go:88 · CLOSE_WAIT": 280, "api: pool.(*Pool).dial pool.go:88 · ESTABLISHED": 20,
		"opened before · ESTABLISHED": 812, "nginx: ngx_event_accept ngx_event_accept.c:57 · FIN_WAIT2": 9} {
		if found[name] != n {
			t.Errorf("%s has %d sockets, want %d: %v", name, found[name], n, found)
		}
	}
}

func TestOnlyARecordIsGroupedByOpener(t *testing.T) {
	if err := Divides(sample.Recorded(), []string{"opener"}); err != nil {
		t.Error(err)
	}
	if err := Divides(sample.Live(), []string{"opener"}); err == nil || !strings.Contains(err.Error(), "connprof record") {
		t.Errorf("a snapshot: %v", err)
	}
	r := sample.Recorded()
	for i := range r.Machines[0].Groups {
		r.Machines[0].Groups[i].Opener = 0
	}
	if err := Divides(r, []string{"opener"}); err == nil || !strings.Contains(err.Error(), "--by opener") {
		t.Errorf("a record whose groups have no opener: %v", err)
	}
}

// What is folded keeps its sums, and the groups still refer to who opened them.
func TestOpenersBeyondTheBoundAreFolded(t *testing.T) {
	r := sample.Recorded()
	m := r.Machines[0]
	opened, live := 0, 0
	for i := range 3 * mostOpeners {
		o := recording.Opener{Kind: recording.OpenerPath, Comm: fmt.Sprint("c", i), Role: kernel.RoleClient, Frames: []string{"f"}, Opened: 2, Live: 1}
		m.Openers = append(m.Openers, o)
	}
	m.Groups[0].Opener = len(m.Openers)
	for _, o := range m.Openers {
		opened, live = opened+o.Opened, live+o.Live
	}
	shown := New(r)
	folded := shown.Recording.Machines[0]
	for _, o := range folded.Openers {
		opened, live = opened-o.Opened, live-o.Live
	}
	if opened != 0 || live != 0 || len(folded.Openers) > mostOpeners+4 {
		t.Errorf("%d openers, %d opened and %d open are lost", len(folded.Openers), opened, live)
	}
	if at := folded.Groups[0].Opener; at < 1 || folded.Openers[at-1].Kind != recording.OpenerOther {
		t.Errorf("a group of a folded opener refers to %d", at)
	}
	if id, _ := openerName(folded, folded.Groups[1].Opener); id != openerKey(m, &m.Openers[m.Groups[1].Opener-1]) {
		t.Error("a group refers to another opener than before")
	}
	if !strings.Contains(strings.Join(shown.Notes, "\n"), "openers") {
		t.Errorf("the notes are %q", shown.Notes)
	}
}

func TestOfAStackThatIsTooDeepTheDeepestFramesStay(t *testing.T) {
	r := sample.Recorded()
	o := &r.Machines[0].Openers[0]
	frames := make([]string, 10_000)
	for i := range frames {
		frames[i] = fmt.Sprint("f", i)
	}
	o.Frames, o.Locations = frames, nil
	shown := New(r).Recording.Machines[0].Openers[0]
	if len(shown.Frames) != mostFrames || shown.Frames[mostFrames-1] != "f9999" {
		t.Errorf("%d frames, the deepest %s", len(shown.Frames), shown.Frames[len(shown.Frames)-1])
	}
}

// A host's growth is no account of what was watched.
func TestARecordIsNotSaidToLeaveSlabUnexplained(t *testing.T) {
	for _, f := range New(sample.Recorded()).Status {
		if strings.Contains(f.Value, "unexplained") {
			t.Errorf("the status says %q", f.Value)
		}
	}
}

func TestRecordsAreComparedByCodeAndNotByProcess(t *testing.T) {
	d := Compare(sample.Recorded(), sample.RecordedLater())
	if d.Code == nil || d.Growth == nil {
		t.Fatal("there is no comparison by code")
	}
	said := map[string]string{}
	for _, c := range d.Code.All {
		said[c.Who] = fmt.Sprintf("%s %s %s %s", c.Opened, c.Open, c.By, c.ByOfThis)
	}
	want := map[string]string{"api": "+88 −280 −1.11 MiB −93.3 %", "moderned": "+11 +10 +40.7 KiB new", "legacyd": "−11 −10 −40.7 KiB gone"}
	if fmt.Sprint(said) != fmt.Sprint(want) {
		t.Errorf("found %v, want %v", said, want)
	}
	if d := Compare(sample.Recorded(), sample.Recorded()); len(d.Code.All) > 0 || !d.Answer.Same {
		t.Errorf("a record differs from itself: %+v", d.Code.All)
	}
}

func TestRecordsOfDifferentLengthAreNotComparedInSilence(t *testing.T) {
	long := sample.RecordedLater()
	long.Machines[0].Record.Seconds = 600
	if said := strings.Join(Compare(sample.Recorded(), long).Warnings, "\n"); !strings.Contains(said, "different lengths, 60 s and 600 s") {
		t.Errorf("it warns of %q", said)
	}
	if said := strings.Join(Compare(sample.Live(), long).Warnings, "\n"); !strings.Contains(said, "only the record knows") {
		t.Errorf("it warns of %q", said)
	}
}

func TestWhatTheEventsMissedIsSaid(t *testing.T) {
	r := sample.Recorded()
	m := r.Machines[0]
	m.Record.Vanished = 2
	m.Hooks = append(m.Hooks, recording.Hook{Function: "inet_csk_accept", Note: "kprobe: CONFIG_KPROBES is not set"})
	said := map[string]Fact{}
	for _, f := range New(r).Look.How {
		said[f.Key] = f
	}
	for key, want := range map[string]string{"close missed": "2 connections were not found", "open missed": "1 socket was found",
		"no hook": "inet_csk_accept: kprobe: CONFIG_KPROBES is not set", "hooks": "inet_sock_set_state (tracepoint), tcp_destroy_sock (tracepoint)",
		"open before": "889 connections, of which 77 were closed meanwhile"} {
		if !strings.Contains(said[key].Value, want) || said[key].Warn != (key != "hooks" && key != "open before") {
			t.Errorf("%s: %+v", key, said[key])
		}
	}
}
