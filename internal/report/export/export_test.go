package export

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/pprof/profile"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/sample"
)

func written(t *testing.T, f report.Format, r *recording.Recording) string {
	t.Helper()
	return sample.Render(t, func(w io.Writer) error { return f.Write(w, report.New(r)) })
}

func compared(t *testing.T, f report.Format, older, newer *recording.Recording) string {
	t.Helper()
	return sample.Render(t, func(w io.Writer) error { return f.WriteDiff(w, report.Compare(older, newer)) })
}

func profileOf(t *testing.T, data string) *profile.Profile {
	t.Helper()
	p, err := profile.Parse(strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPprofAddsUpToTheAccount(t *testing.T) {
	p := profileOf(t, written(t, Pprof{}, sample.New()))
	if p.DefaultSampleType != "page_bytes" || p.SampleType[0].Type != "objects" || p.SampleType[1].Unit != "bytes" {
		t.Errorf("sample types are %v, default %s", p.SampleType, p.DefaultSampleType)
	}
	got, objects := map[string]uint64{}, int64(0)
	for _, s := range p.Sample {
		got[s.Label["role"][0]+" "+s.Label["type"][0]] += uint64(s.Value[1])
		objects += s.Value[0]
		if leaf := s.Location[0].Line[0].Function.Name; leaf != s.Label["type"][0] {
			t.Errorf("the leaf is %s, the type label %s", leaf, s.Label["type"][0])
		}
		if s.Label["cache"][0] == "" {
			t.Errorf("%s has no cache", s.Label["type"][0])
		}
	}
	sample.SameSums(t, got, sample.PageBytes(sample.New()))
	want := int64(0)
	for _, row := range sample.New().Machines[0].Endpoints {
		for _, o := range row.Objects {
			want += int64(o.Count)
		}
	}
	if objects != want {
		t.Errorf("%d objects, the account has %d", objects, want)
	}
}

func TestGoToolPprofOpensIt(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal("no go command to run go tool pprof with")
	}
	file := filepath.Join(t.TempDir(), "sample.pb.gz")
	text := written(t, Pprof{}, sample.New())
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, view := range []struct{ flag, want string }{{"-top", "tcp_sock"}, {"-tags", "sock_inode_cache"}} {
		out, err := exec.Command(goTool, "tool", "pprof", view.flag, file).CombinedOutput()
		if err != nil || !strings.Contains(string(out), view.want) {
			t.Errorf("go tool pprof %s: %v\n%s", view.flag, err, out)
		}
	}
}

// foldedSums reads folded stacks back: page bytes by role and type.
func foldedSums(t *testing.T, text string) map[string]uint64 {
	t.Helper()
	sums := map[string]uint64{}
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		stack, value, found := strings.Cut(line, " ")
		n, err := strconv.ParseUint(value, 10, 64)
		if !found || err != nil {
			t.Fatalf("%q is no folded stack", line)
		}
		frames := strings.Split(stack, ";")
		sums[frames[0]+" "+frames[len(frames)-1]] += n
	}
	return sums
}

func TestFoldedAddsUpToTheAccount(t *testing.T) {
	text := written(t, Folded{}, sample.New())
	sample.SameSums(t, foldedSums(t, text), sample.PageBytes(sample.New()))
}

func TestFoldedNamesCannotBreakALine(t *testing.T) {
	r := sample.New()
	r.Machines[0].Endpoints = nil
	r.Machines[0].Stacks = []recording.Stack{{Role: kernel.RoleClient, Type: "struct file", Bytes: 1, Frames: []string{"a;b c", "d\ne", ""}},
		{Role: kernel.RoleClient, Type: "struct file", Bytes: 2, Frames: []string{"a_b_c", "d?e", "_"}}}
	text := written(t, Folded{}, r)
	if got, want := text, "client;a_b_c;d?e;_;struct_file 3\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSpeedscopeAddsUpToTheAccount(t *testing.T) {
	text := written(t, Speedscope{}, sample.New())
	var file speedscopeFile
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, p := range file.Profiles {
		sum := uint64(0)
		for i, stack := range p.Samples {
			got[p.Name+" "+file.Shared.Frames[stack[len(stack)-1]].Name] += p.Weights[i]
			sum += p.Weights[i]
		}
		if p.EndValue != sum || len(p.Samples) != len(p.Weights) || p.Unit != "bytes" || p.Type != "sampled" {
			t.Errorf("profile %s: ends at %d %s, weighs %d", p.Name, p.EndValue, p.Unit, sum)
		}
	}
	sample.SameSums(t, got, sample.PageBytes(sample.New()))
}

func TestCSVHasARowForEachRoleStateAndType(t *testing.T) {
	text := written(t, CSV{}, sample.New())
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(rows[0], ","), "role,state,type,cache,count,object_bytes,page_bytes,endpoints,page_bytes_per_endpoint"; got != want {
		t.Errorf("header is %s", got)
	}
	if got, want := strings.Join(rows[1], ","), "client,ESTABLISHED,tcp_sock,TCP,20000,47360000,50412000,20000,2520.6"; got != want {
		t.Errorf("first row is %s, want %s", got, want)
	}
	got := map[string]uint64{}
	for _, row := range rows[1:] {
		n, err := strconv.ParseUint(row[6], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		got[row[0]+" "+row[2]] += n
	}
	sample.SameSums(t, got, sample.PageBytes(sample.New()))
}

func TestEqualStacksAreOneSample(t *testing.T) {
	r := sample.New()
	r.Machines[0].Stacks = append(r.Machines[0].Stacks, r.Machines[0].Stacks...)
	p := profileOf(t, written(t, Pprof{}, r))
	sum := int64(0)
	for _, s := range p.Sample {
		sum += s.Value[1]
	}
	want := int64(0)
	for _, s := range r.Machines[0].Stacks {
		want += int64(s.Bytes)
	}
	if len(p.Sample) != len(sample.New().Machines[0].Stacks) || sum != want {
		t.Errorf("%d samples of %d bytes, want %d of %d", len(p.Sample), sum, len(sample.New().Machines[0].Stacks), want)
	}
}

// A spreadsheet runs a cell that begins like a formula. A number may begin with a minus.
func TestNoNameOfACSVIsAFormula(t *testing.T) {
	r := sample.New()
	for i, name := range []string{"=cmd()", "+1", "-1", "@x", "\t=1", "\r=1", "a=1"} {
		r.Machines[0].Endpoints = append(r.Machines[0].Endpoints, recording.EndpointRow{State: name, Count: 1,
			Objects: []recording.ObjectRow{{Type: name, Cache: name, PageBytes: uint64(i), Count: -1}}})
	}
	for what, text := range map[string]string{"report": written(t, CSV{}, r), "diff": compared(t, CSV{}, r, sample.New())} {
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		quoted, numbers := 0, 0
		for _, row := range rows {
			for i, cell := range row {
				switch {
				case strings.HasPrefix(cell, "'"):
					quoted++
				case cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r"):
					if _, err := strconv.ParseFloat(cell, 64); err != nil || i < 4 {
						t.Errorf("%s: a cell %q", what, cell)
					}
					numbers++
				}
			}
		}
		if quoted != 3*4 || numbers == 0 {
			t.Errorf("%s: %d cells are quoted and %d begin with a minus:\n%s", what, quoted, numbers, text)
		}
	}
}
