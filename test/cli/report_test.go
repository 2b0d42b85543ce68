package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/pprof/profile"

	"github.com/connprof/connprof/test/check"
)

// Reports are made as a user without root, from a file that this user may only read.

func reportOf(t *testing.T, flags ...string) string {
	t.Helper()
	args := append([]string{"report", mainJob(t).path("rec.json")}, flags...)
	return finish(t, asNobody(t, args...)).exits(t, exitDone).stdout
}

func TestReportNeedsNoRootAndSaysWhatTheRunSaid(t *testing.T) {
	if got, want := reportOf(t), mainJob(t).stdout; got != want {
		t.Errorf("report printed\n%s\nand run\n%s", got, want)
	}
	if got, want := connprof(t, "report", mainJob(t).path("rec.json")).exits(t, exitDone).stdout, mainJob(t).stdout; got != want {
		t.Errorf("report as root printed\n%s\nand run\n%s", got, want)
	}
}

func TestReportWritesThePageTheRunWrote(t *testing.T) {
	page := reportOf(t, "--html", "-")
	checkPage(t, []byte(page))
	if page != string(readFile(t, mainJob(t).path("page.html"))) {
		t.Error("it is another page than the run's")
	}
}

func TestReportWritesAProfileForPprof(t *testing.T) {
	p, err := profile.Parse(strings.NewReader(reportOf(t, "--pprof", "-")))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckValid(); err != nil {
		t.Fatal(err)
	}
	value := -1
	for i, typ := range p.SampleType {
		if typ.Unit == "bytes" {
			value = i
		}
	}
	if value < 0 {
		t.Fatalf("no sample type in bytes: %v", p.SampleType)
	}
	sums := map[string]uint64{}
	for _, s := range p.Sample {
		for _, label := range []string{"role", "type", "cache"} {
			if len(s.Label[label]) != 1 {
				t.Fatalf("a sample without the label %s: %v", label, s.Label)
			}
		}
		sums[s.Label["role"][0]+" "+s.Label["type"][0]] += uint64(s.Value[value])
	}
	sameBytes(t, "the profile", sums, check.PageBytes(mainJob(t).recording))
}

func TestReportWritesFoldedStacks(t *testing.T) {
	sums := map[string]uint64{}
	for _, line := range strings.Split(strings.TrimSpace(reportOf(t, "--folded", "-")), "\n") {
		i := strings.LastIndex(line, " ")
		n, err := strconv.ParseUint(line[i+1:], 10, 64)
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		frames := strings.Split(line[:i], ";")
		sums[frames[0]+" "+frames[len(frames)-1]] += n
	}
	sameBytes(t, "the folded stacks", sums, check.PageBytes(mainJob(t).recording))
}

func TestReportWritesSpeedscope(t *testing.T) {
	var file struct {
		Profiles []struct {
			Name    string   `json:"name"`
			Unit    string   `json:"unit"`
			Weights []uint64 `json:"weights"`
			Samples [][]int  `json:"samples"`
		} `json:"profiles"`
		Shared struct {
			Frames []struct {
				Name string `json:"name"`
			} `json:"frames"`
		} `json:"shared"`
	}
	if err := json.Unmarshal([]byte(reportOf(t, "--speedscope", "-")), &file); err != nil {
		t.Fatal(err)
	}
	// Each role's bytes are in one profile; a profile of all roles together may come with them.
	var want, got uint64
	for key, n := range check.PageBytes(mainJob(t).recording) {
		if strings.HasPrefix(key, "client ") {
			want += n
		}
	}
	for _, p := range file.Profiles {
		if len(p.Samples) != len(p.Weights) || p.Unit != "bytes" {
			t.Errorf("profile %s: %d samples, %d weights in %s", p.Name, len(p.Samples), len(p.Weights), p.Unit)
		}
		for i, w := range p.Weights {
			for _, frame := range p.Samples[i] {
				if frame < 0 || frame >= len(file.Shared.Frames) {
					t.Fatalf("profile %s has no frame %d", p.Name, frame)
				}
			}
			if strings.Contains(p.Name, "client") {
				got += w
			}
		}
	}
	if got != want {
		t.Errorf("the client's profile sums to %d bytes, the account has %d: %.300v", got, want, file)
	}
}

func TestReportWritesCSV(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader(reportOf(t, "--csv", "-"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	sums := map[string]uint64{}
	for _, row := range rows[1:] {
		sums[row[column["role"]]+" "+row[column["type"]]] += uint64(number(t, row[column["page_bytes"]]))
	}
	sameBytes(t, "the rows", sums, check.PageBytes(mainJob(t).recording))
}

func sameBytes(t *testing.T, what string, got, want map[string]uint64) {
	t.Helper()
	for key, n := range want {
		if got[key] != n {
			t.Errorf("%s: %s sums to %d bytes, the account has %d", what, key, got[key], n)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s: %s is not in the account", what, key)
		}
	}
}

// formats are the flags of the formats that a recording is rendered in.
var formats = []struct{ flag string }{{"html"}, {"pprof"}, {"folded"}, {"speedscope"}, {"csv"}}

func TestReportWritesEveryFormatToFilesAtOnce(t *testing.T) {
	args := []string{"report", mainJob(t).path("rec.json")}
	for _, f := range formats {
		args = append(args, "--"+f.flag, "out."+f.flag)
	}
	cmd := asNobody(t, args...)
	if r := finish(t, cmd).exits(t, exitDone); r.stdout != "" {
		t.Errorf("the text was printed as well: %v", r)
	}
	for _, f := range formats {
		written := readFile(t, filepath.Join(cmd.Dir, "out."+f.flag))
		if printed := reportOf(t, "--"+f.flag, "-"); !bytes.Equal(written, []byte(printed)) {
			t.Errorf("--%s writes %d bytes to a file and other %d to stdout", f.flag, len(written), len(printed))
		}
	}
	entries, err := os.ReadDir(cmd.Dir)
	if err != nil || len(entries) != len(formats) {
		t.Errorf("files left in the directory: %v %v", entries, err)
	}
}

func TestDiffOfARecordingWithItselfFindsNoDifference(t *testing.T) {
	path := mainJob(t).path("rec.json")
	text := finish(t, asNobody(t, "diff", path, path)).exits(t, exitDone).stdout
	says(t, "diff", text, "nothing changed", "Client endpoints", "Server endpoints")
	folded := finish(t, asNobody(t, "diff", path, path, "--folded", "-")).exits(t, exitDone).stdout
	for _, line := range strings.Split(strings.TrimSpace(folded), "\n") {
		f := strings.Fields(line)
		if n := len(f); n < 3 || f[n-1] != f[n-2] {
			t.Errorf("a difference: %q", line)
		}
	}
}

func TestReportOfADamagedRecordingSaysSo(t *testing.T) {
	whole := readFile(t, mainJob(t).path("rec.json"))
	zipped := gzipped(t, whole)
	files := map[string][]byte{
		"empty": {}, "blank": []byte("\n\n"), "text": []byte("once upon a time\n"), "binary": {0x7f, 'E', 'L', 'F', 0, 1},
		"a list": []byte("[1, 2]"), "null": []byte("null"), "a number": []byte("5"), "a string": []byte(`"connprof"`),
		"no schema": []byte(`{"load": {}}`), "an odd schema": []byte(`{"schema": 5}`),
		"a later schema": bytes.Replace(whole, []byte("recording/2"), []byte("recording/9"), 1),
		"another shape":  []byte(`{"schema": "connprof.recording/2", "machines": 5}`),
		"no machine":     []byte(`{"schema": "connprof.recording/2", "machines": []}`),
		"of schema 1":    []byte(`{"schema": "connprof.recording/1", "load": 5}`),
		"two in one":     append(bytes.Clone(whole), whole...),
		"damaged gzip":   bytes.Replace(zipped, zipped[len(zipped)/2:len(zipped)/2+8], []byte("\x00\x00\x00\x00\xff\xff\xff\xff"), 1),
	}
	for _, n := range []int{1, 2, 100, len(whole) / 2, len(whole) - 2} {
		files[fmt.Sprintf("cut at %d of %d", n, len(whole))] = whole[:n]
	}
	for _, n := range []int{1, 2, 5, 10, len(zipped) / 2, len(zipped) - 8, len(zipped) - 1} {
		files[fmt.Sprintf("gzip cut at %d of %d", n, len(zipped))] = zipped[:n]
	}
	for name, content := range files {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "damaged.json")
			if err := os.WriteFile(path, content, 0o644); err != nil {
				t.Fatal(err)
			}
			r := connprof(t, "report", path)
			r.refuses(t, exitFailed, path)
			if line := r.lastLine(); !strings.Contains(line, "recording") {
				t.Errorf("the complaint does not speak of a recording: %s", line)
			}
			connprof(t, "report", path, "--html", "-").refuses(t, exitFailed, path)
			connprof(t, "diff", mainJob(t).path("rec.json"), path).refuses(t, exitFailed, path)
		})
	}
	connprof(t, "report", "later.json").refuses(t, exitFailed, "later.json", "no such file")
	connprof(t, "report", t.TempDir()).refuses(t, exitFailed, "directory")
}

// A recording may leave out anything but its schema and one machine: fields may be added, and old recordings lack them.
func TestReportOfARecordingThatSaysLittle(t *testing.T) {
	for schema, text := range map[string]string{
		"1": `{"schema": "connprof.recording/1", "later": {"field": 1}}`,
		"2": `{"schema": "connprof.recording/2", "machines": [{"later": 1}], "later": {"field": 1}}`,
	} {
		path := filepath.Join(t.TempDir(), schema+".json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		connprof(t, "report", path).exits(t, exitDone)
		for _, f := range formats {
			connprof(t, "report", path, "--"+f.flag, "-").exits(t, exitDone)
		}
	}
}
