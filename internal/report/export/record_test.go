package export

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/pprof/profile"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report/sample"
)

// openSums are the bytes and sockets of a record that are still open, by the name of the process.
func openSums(r *recording.Recording) (bytes map[string]uint64, sockets int) {
	bytes = map[string]uint64{}
	for _, o := range r.Machines[0].Openers {
		sockets += o.Live
		bytes[o.Comm] += o.LivePageBytes + o.LiveBufferBytes
	}
	return bytes, sockets
}

func TestTheProfileOfARecordAddsUpToItsOpeners(t *testing.T) {
	p := profileOf(t, written(t, Pprof{}, sample.Recorded()))
	if err := p.CheckValid(); err != nil {
		t.Error(err)
	}
	var types []string
	for _, s := range p.SampleType {
		types = append(types, s.Type+" "+s.Unit)
	}
	if got := strings.Join(types, ", "); got != "inuse_connections count, inuse_space bytes, alloc_connections count, failed_connections count" ||
		p.DefaultSampleType != "inuse_space" || p.DurationNanos != 60e9 {
		t.Errorf("the types are %s, default %s, of %d ns", got, p.DefaultSampleType, p.DurationNanos)
	}
	first := sample.Recorded()
	first.Machines[0].Openers = append(first.Machines[0].Openers[7:8], first.Machines[0].Openers[:7]...) // one without code
	if got := profileOf(t, written(t, Pprof{}, first)).Mapping[0].File; got != "/app/api" {
		t.Errorf("pprof takes %s for the program", got)
	}
	bytes, sums := map[string]uint64{}, [4]int64{}
	for _, s := range p.Sample {
		comm := ""
		if of := s.Label["comm"]; len(of) > 0 {
			comm = of[0]
		}
		bytes[comm] += uint64(s.Value[1])
		for i, v := range s.Value {
			sums[i] += v
		}
	}
	want, sockets := openSums(sample.Recorded())
	maps.DeleteFunc(want, func(comm string, n uint64) bool { return n == 0 && bytes[comm] == 0 })
	maps.DeleteFunc(bytes, func(comm string, n uint64) bool { return n == 0 })
	rec := sample.Recorded().Machines[0].Record
	if !maps.Equal(bytes, want) || sums[0] != int64(sockets) || sums[2] != int64(rec.Opened) || sums[3] != int64(rec.Failed) {
		t.Errorf("%v of %v, want %v of %d, %d, %d", sums, bytes, want, sockets, rec.Opened, rec.Failed)
	}
}

// sampleOf is the sample of a process and role.
func sampleOf(t *testing.T, p *profile.Profile, comm, role string) *profile.Sample {
	t.Helper()
	at := slices.IndexFunc(p.Sample, func(s *profile.Sample) bool {
		return slices.Equal(s.Label["comm"], []string{comm}) && slices.Equal(s.Label["role"], []string{role})
	})
	if at < 0 {
		t.Fatalf("there is no sample of %s", comm)
	}
	return p.Sample[at]
}

func TestTheProfilesLocationsAreThoseOfTheCode(t *testing.T) {
	p := profileOf(t, written(t, Pprof{}, sample.Recorded()))
	s := sampleOf(t, p, "shop", "client")
	for name, want := range map[string]string{"pid": "5120", "kind": "path", "role": "client"} {
		if !slices.Equal(s.Label[name], []string{want}) {
			t.Errorf("the label %s is %q", name, s.Label[name])
		}
	}
	var got []string
	for _, l := range s.Location {
		if l.Address < l.Mapping.Start || l.Address >= l.Mapping.Limit {
			t.Errorf("%#x is not in its mapping %#x-%#x", l.Address, l.Mapping.Start, l.Mapping.Limit)
		}
		var lines []string
		for _, line := range l.Line {
			lines = append(lines, fmt.Sprintf("%s %s:%d", line.Function.SystemName, filepath.Base(line.Function.Filename), line.Line))
		}
		got = append(got, filepath.Base(l.Mapping.File)+" "+strings.Join(lines, " in "))
	}
	want := []string{"libc.so.6 connect .:0", "shop db::Pool<db::Postgres>::fill(int) pool.cc:77", "shop Shop::run() shop.cc:212 in main main.cc:40",
		"libc.so.6 __libc_start_main .:0", "shop _start .:0"}
	if !slices.Equal(got, want) {
		t.Errorf("the stack is %q", got)
	}
	if l := s.Location[0].Mapping; l.BuildID == "" || l.Offset != 0x26000 || !l.HasFunctions || l.HasLineNumbers {
		t.Errorf("the C library's mapping is %+v", l)
	}
	if got := sampleOf(t, p, "api", "client").Label["service"]; !slices.Equal(got, []string{"10.0.3.7:5432"}) {
		t.Errorf("the service is %q", got)
	}
	if got := sampleOf(t, p, "apid", "server").Label["listener"]; !slices.Equal(got, []string{"0.0.0.0:8443"}) {
		t.Errorf("the listener is %q", got)
	}
	if got := sampleOf(t, p, "nginx", "server").Label["pid"]; !slices.Equal(got, []string{"1812", "1813", "1814", "1815"}) {
		t.Errorf("the workers are %q", got)
	}
	// pprof and Parca symbolise what has an address and no function.
	for _, l := range sampleOf(t, p, "legacyd", "client").Location {
		if len(l.Line) > 0 || l.Address == 0 || l.Mapping.HasFunctions {
			t.Errorf("code without names has %v at %#x", l.Line, l.Address)
		}
	}
}

func TestAnAddressOfAFileBecomesThatOfTheProcess(t *testing.T) {
	r := sample.Recorded()
	m := r.Machines[0]
	m.Openers = []recording.Opener{{Kind: recording.OpenerPath, Comm: "x", Role: kernel.RoleClient, Opened: 1,
		Frames: []string{"pie", "fixed", "jit", "beyond"}, Locations: []int{0, 1, 2, 3}}}
	m.Locations = []recording.Location{
		{Function: "pie", Module: "/pie", Address: 0x1234, Start: 0x55d000001000, Limit: 0x55d000003000, Offset: 0x1000},
		{Function: "fixed", Module: "/fixed", Address: 0x401234, Start: 0x401000, Limit: 0x900000, Offset: 0x1000},
		{Function: "jit", Module: "[jit]", Address: 0x7f0000000010, Start: 0x7f0000000000, Limit: 0x7f0000001000},
		{Function: "beyond", Module: "/odd", Address: 0x99999, Start: 0x1000, Limit: 0x2000, Offset: 0x100},
	}
	var got []string
	for _, l := range profileOf(t, written(t, Pprof{}, r)).Sample[0].Location {
		got = append(got, fmt.Sprintf("%#x", l.Address))
	}
	if want := []string{"0x99999", "0x7f0000000010", "0x401234", "0x55d000001234"}; !slices.Equal(got, want) {
		t.Errorf("the addresses are %q, want %q", got, want)
	}
}

func TestGoToolPprofOpensARecord(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal("no go command to run go tool pprof with")
	}
	file := filepath.Join(t.TempDir(), "record.pb.gz")
	if err := os.WriteFile(file, []byte(written(t, Pprof{}, sample.Recorded())), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(goTool, "tool", "pprof", "-top", "-cum", "-symbolize=none", "-sample_index=inuse_connections", "-tagfocus", "comm=api", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "300 19.87%") || !strings.Contains(string(out), "pool.(*Pool).dial") || strings.Contains(string(out), "ngx_") {
		t.Errorf("go tool pprof: %v\n%s", err, out)
	}
}

func TestFoldedAndSpeedscopeOfARecordAddUpToItsOpeners(t *testing.T) {
	want, _ := openSums(sample.Recorded())
	all := uint64(0)
	for _, n := range want {
		all += n
	}
	got := uint64(0)
	calls := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(written(t, Folded{}, sample.Recorded())), "\n") {
		path, value, _ := cutLast(line)
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			t.Fatalf("%q is no folded stack", line)
		}
		got += n
		frames := strings.Split(path, ";")
		if len(frames) > 2 {
			calls[frames[len(frames)-2]] = true
		}
	}
	if got != all || !calls["connect()"] || !calls["accept()"] {
		t.Errorf("folded has %d bytes below %v, want %d", got, calls, all)
	}
	var file speedscopeFile
	if err := json.Unmarshal([]byte(written(t, Speedscope{}, sample.Recorded())), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Profiles) != 1 || file.Profiles[0].EndValue != all || file.Profiles[0].Name != "still open, by code" {
		t.Errorf("speedscope has %d profiles, the first ends at %d, want %d", len(file.Profiles), file.Profiles[0].EndValue, all)
	}
}

func cutLast(line string) (before, after string, found bool) {
	at := strings.LastIndexByte(line, ' ')
	return line[:max(at, 0)], line[at+1:], at >= 0
}

func TestCSVOfARecordHasARowForEachOpener(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader(written(t, CSV{}, sample.Recorded()))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	openers := sample.Recorded().Machines[0].Openers
	if len(rows) != len(openers)+1 {
		t.Fatalf("%d rows of %d openers", len(rows)-1, len(openers))
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	for i, o := range openers {
		for name, want := range map[string]string{"kind": string(o.Kind), "comm": o.Comm, "opened": fmt.Sprint(o.Opened), "closed": fmt.Sprint(o.Closed),
			"failed": fmt.Sprint(o.Failed), "live": fmt.Sprint(o.Live), "live_page_bytes": fmt.Sprint(o.LivePageBytes), "frames": strings.Join(o.Frames, ";"),
			"listener": o.Listener, "live_tx_bytes": fmt.Sprint(o.LiveTxBytes)} {
			if got := rows[i+1][column[name]]; got != want {
				t.Errorf("row %d: %s is %q, want %q", i, name, got, want)
			}
		}
	}
	for name, want := range map[string]string{"function": "github.com/acme/api/pool.(*Pool).dial", "file": "/src/api/pool/pool.go", "line": "88",
		"states": "CLOSE_WAIT 280; ESTABLISHED 20", "errors": "ECONNREFUSED 12", "lifetime_seconds_p99": "30", "tenths": "28 61 90 122 149 181 209 241 272 300"} {
		if got := rows[1][column[name]]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestCSVOfARecordInWhichNothingWasOpenedHasTheSameHead(t *testing.T) {
	empty := sample.Recorded()
	empty.Machines[0].Openers = nil
	head, _, _ := strings.Cut(written(t, CSV{}, sample.Recorded()), "\n")
	if got := written(t, CSV{}, empty); got != head+"\n" {
		t.Errorf("%q, want %q", got, head)
	}
}

func TestNoNameOfARecordIsAFormula(t *testing.T) {
	r := sample.Recorded()
	sample.Forge(r, "=cmd()")
	rows, err := csv.NewReader(strings.NewReader(written(t, CSV{}, r))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for i, cell := range row {
			if strings.HasPrefix(cell, "=") {
				t.Errorf("%s is a formula: %q", rows[0][i], cell)
			}
		}
	}
}

// The difference of two records is the difference of their openers, in every format.
func TestTheDifferenceOfTwoRecordsAddsUp(t *testing.T) {
	sum := func(r *recording.Recording) (bytes int64, sockets int) {
		of, n := openSums(r)
		for _, b := range of {
			bytes += int64(b)
		}
		return bytes, n
	}
	was, n := sum(sample.Recorded())
	is, k := sum(sample.RecordedLater())
	var bytes, sockets int64
	for _, s := range profileOf(t, compared(t, Pprof{}, sample.Recorded(), sample.RecordedLater())).Sample {
		sockets, bytes = sockets+s.Value[0], bytes+s.Value[1]
		if len(s.Label["pid"]) > 0 {
			t.Errorf("a process of a difference has the number %q", s.Label["pid"])
		}
	}
	if bytes != is-was || sockets != int64(k-n) {
		t.Errorf("%+d bytes and %+d sockets, want %+d and %+d", bytes, sockets, is-was, k-n)
	}
	rows, err := csv.NewReader(strings.NewReader(compared(t, CSV{}, sample.Recorded(), sample.RecordedLater()))).ReadAll()
	if err != nil || len(rows) != 4 || !strings.HasPrefix(strings.Join(rows[3], ","), "api,client,container 3f1c9a7be0d2,pool.(*Pool).dial pool.go:88 ← ") {
		t.Errorf("the rows are %q, %v", rows, err)
	}
	if p := profileOf(t, compared(t, Pprof{}, sample.Recorded(), sample.Recorded())); len(p.Sample) > 0 {
		t.Errorf("a record differs from itself by %d samples", len(p.Sample))
	}
}
