package export

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/sample"
)

// heldBy sums the bytes of a recording's groups by state, and the sockets.
func heldBy(r *recording.Recording) (bytes map[string]uint64, sockets int) {
	bytes = map[string]uint64{}
	for _, g := range r.Machines[0].Groups {
		bytes[g.State] += g.PageBytes + g.BufferBytes
		sockets += g.Count
	}
	return bytes, sockets
}

func TestTheProfileOfASnapshotAddsUpToItsGroups(t *testing.T) {
	p := profileOf(t, written(t, Pprof{}, sample.Live()))
	if p.DefaultSampleType != "bytes" || p.SampleType[0].Type != "sockets" {
		t.Errorf("sample types are %v, default %s", p.SampleType, p.DefaultSampleType)
	}
	got, sockets := map[string]uint64{}, 0
	for _, s := range p.Sample {
		got[s.Label["state"][0]] += uint64(s.Value[1])
		sockets += int(s.Value[0])
		names := make([]string, len(s.Location))
		for i, l := range s.Location {
			names[i] = l.Line[0].Function.Name
		}
		if want := []string{s.Label["object"][0], s.Label["state"][0], s.Label["owner"][0]}; strings.Join(names, ";") != strings.Join(want, ";") {
			t.Errorf("the frames are %q, want %q", names, want)
		}
	}
	want, n := heldBy(sample.Live())
	if !maps.Equal(got, want) || sockets != n {
		t.Errorf("%d sockets of %v, want %d of %v", sockets, got, n, want)
	}
}

func TestGoToolPprofFocusesOnALabelOfASnapshot(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal("no go command to run go tool pprof with")
	}
	file := filepath.Join(t.TempDir(), "snapshot.pb.gz")
	if err := os.WriteFile(file, []byte(written(t, Pprof{}, sample.Live())), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(goTool, "tool", "pprof", "-top", "-sample_index=sockets", "-tagfocus", "state=CLOSE_WAIT", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "leaky (leaky.service)") || strings.Contains(string(out), "nginx") || !strings.Contains(string(out), "1740") {
		t.Errorf("go tool pprof: %v\n%s", err, out)
	}
}

func TestFoldedAndSpeedscopeOfASnapshotAddUpToItsGroups(t *testing.T) {
	want, _ := heldBy(sample.Live())
	got := map[string]uint64{}
	for _, line := range strings.Split(strings.TrimSpace(written(t, Folded{}, sample.Live())), "\n") {
		stack, value, _ := strings.Cut(line, " ")
		n, err := strconv.ParseUint(value, 10, 64)
		frames := strings.Split(stack, ";")
		if err != nil || len(frames) != 3 {
			t.Fatalf("%q is no line of owner, state and object: %v", line, err)
		}
		got[frames[1]] += n
	}
	if !maps.Equal(got, want) {
		t.Errorf("folded has %v, want %v", got, want)
	}
	var file speedscopeFile
	if err := json.Unmarshal([]byte(written(t, Speedscope{}, sample.Live())), &file); err != nil {
		t.Fatal(err)
	}
	all := uint64(0)
	for _, n := range want {
		all += n
	}
	if len(file.Profiles) != 1 || file.Profiles[0].EndValue != all || file.Profiles[0].Name != "by owner" {
		t.Errorf("speedscope has %d profiles, the first ends at %d, want %d", len(file.Profiles), file.Profiles[0].EndValue, all)
	}
}

func TestCSVOfASnapshotHasARowForEachGroup(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader(written(t, CSV{}, sample.Live()))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	groups := sample.Live().Machines[0].Groups
	if len(rows) != len(groups)+1 {
		t.Fatalf("%d rows of %d groups", len(rows)-1, len(groups))
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	for i, g := range groups {
		for name, want := range map[string]string{"comm": g.Comm, "container": g.Container, "owner": string(g.Owner), "state": g.State,
			"count": fmt.Sprint(g.Count), "page_bytes": fmt.Sprint(g.PageBytes), "tx_bytes": fmt.Sprint(g.TxBytes),
			"unread_bytes": fmt.Sprint(g.UnreadBytes), "netns": fmt.Sprint(g.Netns)} {
			if got := rows[i+1][column[name]]; got != want {
				t.Errorf("row %d: %s is %q, want %q", i, name, got, want)
			}
		}
	}
}

// The difference of two snapshots is the difference of their groups, in every format.
func TestTheGrowthBetweenTwoSnapshotsAddsUp(t *testing.T) {
	was, n := heldBy(sample.Live())
	is, k := heldBy(sample.Later())
	sum := func(m map[string]uint64) (all int64) {
		for _, v := range m {
			all += int64(v)
		}
		return all
	}
	want := sum(is) - sum(was)
	var bytes, sockets int64
	for _, s := range profileOf(t, compared(t, Pprof{}, sample.Live(), sample.Later())).Sample {
		bytes, sockets = bytes+s.Value[1], sockets+s.Value[0]
	}
	if bytes != want || sockets != int64(k-n) {
		t.Errorf("pprof: %+d bytes and %+d sockets, want %+d and %+d", bytes, sockets, want, k-n)
	}
	owners, objects := int64(0), int64(0)
	d := report.Compare(sample.Live(), sample.Later())
	for _, r := range d.Growth.All {
		owners += int64(r.Is) - int64(r.Was)
	}
	for _, r := range d.Growth.Objects {
		objects += int64(r.Is) - int64(r.Was)
	}
	if owners != want || objects != want {
		t.Errorf("%+d bytes by owner, %+d by object, want %+d", owners, objects, want)
	}
	rows, err := csv.NewReader(strings.NewReader(compared(t, CSV{}, sample.Live(), sample.Later()))).ReadAll()
	if err != nil || strings.Join(rows[1], ",") != "owner,leaky,leaky.service,1800,2700,7496820,11245230,3748410" {
		t.Errorf("the first row is %q, %v", rows[1], err)
	}
	if p := profileOf(t, compared(t, Pprof{}, sample.Live(), sample.Live())); len(p.Sample) > 0 {
		t.Errorf("a snapshot has grown by %d samples from itself", len(p.Sample))
	}
}
