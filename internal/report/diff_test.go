package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
)

func diffOf(t *testing.T, older, newer *recording.Recording) string {
	t.Helper()
	var b bytes.Buffer
	if err := Diff(&b, older, newer, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestNothingChangedBetweenARecordingAndItself(t *testing.T) {
	text := diffOf(t, sample(), sample())
	wantLines(t, text, "One connection costs 8.02 KiB of slab pages nothing changed")
	if unexplained := "+1.0 %"; strings.Contains(strings.ReplaceAll(text, unexplained, ""), "+") {
		t.Errorf("something grew:\n%s", text)
	}
	if p := profileOf(t, func(b *bytes.Buffer) error { return DiffPprof(b, sample(), sample()) }); len(p.Sample) != 0 {
		t.Errorf("the profile has %d samples", len(p.Sample))
	}
	var b bytes.Buffer
	if err := DiffSpeedscope(&b, sample(), sample()); err != nil {
		t.Fatal(err)
	}
	var file speedscopeFile
	if err := json.Unmarshal(b.Bytes(), &file); err != nil || len(file.Profiles) != 0 {
		t.Errorf("speedscope shows growth: %v, %v", file.Profiles, err)
	}
}

func TestRunsOfDifferentSizeDifferInNothingIfAnEndpointCostsTheSame(t *testing.T) {
	wantLines(t, diffOf(t, sampleOf(6_400), sample()), "nothing changed", "20,000, before 6,400")
	var b bytes.Buffer
	if err := DiffFolded(&b, sampleOf(6_400), sample()); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		var old, new uint64
		stack, values, _ := strings.Cut(line, " ")
		if n, err := fmt.Sscan(values, &old, &new); n != 2 || err != nil || old != new {
			t.Errorf("%s: %s", stack, values)
		}
	}
	if p := profileOf(t, func(b *bytes.Buffer) error { return DiffPprof(b, sampleOf(6_400), sample()) }); len(p.Sample) != 0 {
		t.Errorf("the profile has %d samples", len(p.Sample))
	}
}

func TestDiffShowsWhatGrewWhatWentAndByHowMuch(t *testing.T) {
	text := diffOf(t, sample(), troubled(t))
	wantLines(t, text,
		"153.6 B more than before (+1.9 %, from 8.02 KiB)",
		"kernel 6.18.5 x86_64 6.12.117 x86_64",
		"inet_bind_bucket eventpoll_epi 6.4 0.0 −6.4 gone",
		"tcp_sock TCP 2,520.6 2,680.6 +160.0 +6.3 %",
		"total 4,036.9 4,196.9 +160.0 +4.0 %",
		"unchanged: 3,578.0 B an endpoint",
		"the new recording lost 15 events",
	)
	wantLines(t, diffOf(t, troubled(t), sample()), "153.6 B less than before (−1.8 %, from 8.17 KiB)",
		"inet_bind_bucket eventpoll_epi 0.0 6.4 +6.4 new")
}

// TestDiffProfilesAddUpToTheChange holds every format of call paths to the account's own change.
func TestDiffProfilesAddUpToTheChange(t *testing.T) {
	was, is := pageBytesByType(sample()), pageBytesByType(troubled(t))
	got := map[string]int64{}
	for _, s := range profileOf(t, func(b *bytes.Buffer) error { return DiffPprof(b, sample(), troubled(t)) }).Sample {
		got[s.Label["role"][0]+" "+s.Label["type"][0]] += s.Value[1]
	}
	for key := range was {
		if want := int64(is[key]) - int64(was[key]); got[key] != want {
			t.Errorf("%s: the profile says %+d, the account %+d", key, got[key], want)
		}
	}
	if got["client inet_bind_bucket"] != -128_000 {
		t.Errorf("what went is not negative: %d", got["client inet_bind_bucket"])
	}
	var b bytes.Buffer
	if err := DiffHTML(&b, sample(), troubled(t)); err != nil {
		t.Fatal(err)
	}
	root := flameOf(t, b.String()).Nodes[:8]
	var wasAll, isAll uint64
	for key := range was {
		wasAll, isAll = wasAll+was[key], isAll+is[key]
	}
	if root[6] != isAll || root[7] != wasAll {
		t.Errorf("the page's root went from %d to %d, the account from %d to %d", root[7], root[6], wasAll, isAll)
	}
}

func TestDiffSpeedscopeHoldsOnlyGrowth(t *testing.T) {
	var b bytes.Buffer
	if err := DiffSpeedscope(&b, sample(), troubled(t)); err != nil {
		t.Fatal(err)
	}
	var file speedscopeFile
	if err := json.Unmarshal(b.Bytes(), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Profiles) != 1 || file.Profiles[0].Name != "server" || file.Profiles[0].EndValue != 3_200_000 {
		t.Errorf("got %+v, want 3,200,000 bytes of growth at the server", file.Profiles)
	}
}

func TestDiffCSVNormalisesByEndpoints(t *testing.T) {
	var b bytes.Buffer
	if err := DiffCSV(&b, sampleOf(6_400), troubled(t)); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{
		"server,ESTABLISHED,tcp_sock,TCP,6400,20000,2520.6,2680.6,160,6.3477":          false,
		"client,ESTABLISHED,inet_bind_bucket,eventpoll_epi,6400,20000,6.4,0,-6.4,-100": false,
		"client,ESTABLISHED,tcp_sock,TCP,6400,20000,2520.6,2520.6,0,0":                 false,
	}
	for _, row := range rows {
		if line := strings.Join(row, ","); !want[line] {
			want[line] = true
		}
	}
	if len(want) != len(rows) {
		t.Errorf("some of the expected rows are missing: %v", rows)
	}
}

func TestRecordingsOfDifferentEndsAreNotCompared(t *testing.T) {
	one := sample()
	near(one).Endpoints = near(one).Endpoints[:1]
	wantLines(t, diffOf(t, one, sample()), "the recordings do not hold the same ends of a connection")
}
