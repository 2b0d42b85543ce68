package export

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/sample"
)

func TestNothingChangedBetweenARecordingAndItself(t *testing.T) {
	if p := profileOf(t, compared(t, Pprof{}, sample.New(), sample.New())); len(p.Sample) != 0 {
		t.Errorf("the profile has %d samples", len(p.Sample))
	}
	text := compared(t, Speedscope{}, sample.New(), sample.New())
	var file speedscopeFile
	if err := json.Unmarshal([]byte(text), &file); err != nil || len(file.Profiles) != 0 {
		t.Errorf("speedscope shows growth: %v, %v", file.Profiles, err)
	}
}

func TestRunsOfDifferentSizeDifferInNothingIfAnEndpointCostsTheSame(t *testing.T) {
	text := compared(t, Folded{}, sample.Of(6_400), sample.New())
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		var old, new uint64
		stack, values, _ := strings.Cut(line, " ")
		if n, err := fmt.Sscan(values, &old, &new); n != 2 || err != nil || old != new {
			t.Errorf("%s: %s", stack, values)
		}
	}
	if p := profileOf(t, compared(t, Pprof{}, sample.Of(6_400), sample.New())); len(p.Sample) != 0 {
		t.Errorf("the profile has %d samples", len(p.Sample))
	}
}

// A difference is held to the account's own change.
func TestDiffProfilesAddUpToTheChange(t *testing.T) {
	was, is := sample.PageBytes(sample.New()), sample.PageBytes(sample.Troubled())
	got := map[string]int64{}
	for _, s := range profileOf(t, compared(t, Pprof{}, sample.New(), sample.Troubled())).Sample {
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
}

func TestDiffSpeedscopeHoldsOnlyGrowth(t *testing.T) {
	text := compared(t, Speedscope{}, sample.New(), sample.Troubled())
	var file speedscopeFile
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Profiles) != 1 || file.Profiles[0].Name != "server" || file.Profiles[0].EndValue != 3_200_000 {
		t.Errorf("got %+v, want 3,200,000 bytes of growth at the server", file.Profiles)
	}
}

func TestDiffCSVNormalisesByEndpoints(t *testing.T) {
	text := compared(t, CSV{}, sample.Of(6_400), sample.Troubled())
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
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

// What the ends were is the same on one machine and on two, so every format that is about the ends must be, too.
func TestProfilesOfTwoMachinesAddUpToTheAccountOfBoth(t *testing.T) {
	for _, f := range []report.Format{Folded{}, Speedscope{}, CSV{}} {
		if written(t, f, sample.New()) != written(t, f, sample.TwoMachines()) {
			t.Errorf("%T: the ends of one machine and of two differ", f)
		}
	}
	p := profileOf(t, written(t, Pprof{}, sample.TwoMachines()))
	got := map[string]uint64{}
	for _, s := range p.Sample {
		got[s.Label["role"][0]+" "+s.Label["type"][0]] += uint64(s.Value[1])
	}
	sample.SameSums(t, got, sample.PageBytes(sample.New()))
	if want := "Linux 6.18.5 x86_64, 6.12.117 aarch64"; !strings.Contains(p.Comments[0], want) {
		t.Errorf("the profile's comment is %q, want %q in it", p.Comments[0], want)
	}
}
