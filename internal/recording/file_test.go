package recording

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/kernel"
)

// fullRecording has something in every list.
func fullRecording() *Recording {
	row := func(role kernel.Role, state string) EndpointRow {
		return EndpointRow{Role: role, State: state, Count: 1, ObjectBytes: 1900, PageBytes: 2048, BufferBytes: 7,
			Objects: []ObjectRow{{Type: "tcp_sock", Cache: "TCP", Count: 1, ObjectBytes: 1900, PageBytes: 2048}}}
	}
	roles := []kernel.Role{kernel.RoleClient, kernel.RoleServer, kernel.RoleListener}
	m := &Machine{
		Notes: []string{"a \"note\" with <marks> & ünïcode"},
		Host:  Host{Kernel: "6.18", CPUs: 2, MemoryBytes: 1 << 34, Machine: "x86_64"},
		Hooks: []Hook{{Name: "connect", Kind: "tracepoint", Attached: true, Note: "CONFIG_KPROBES is not set"}},
		Load: &Load{End: kernel.RoleBoth, Scenario: "idle", Failures: []Failure{{Step: "connect", Error: "connection refused", Count: 3}},
			Timeline: []TimelinePoint{{Seconds: 0.25, Established: 7, SlabBytes: 1 << 40}}},
		Endpoints: []EndpointRow{row(roles[0], "ESTABLISHED"), row(roles[1], "ESTABLISHED"), row(roles[2], "LISTEN")},
		Trace:     &Trace{Connects: 1, Types: []TypeRow{{kernel.RoleClient, "tcp_sock", 1, 1}}},
		Reconcile: &Reconcile{SlabDeltaBytes: 9000, AccountedPageBytes: 6000, Caches: []CacheRow{{Cache: "TCP"}}},
		Sampling:  &Sampling{Interval: 32, Samples: 9},
	}
	for i, role := range roles {
		m.Addresses = append(m.Addresses, AddressRow{Address: "10.0.0.1", Role: role, Count: 1})
		m.Stacks = append(m.Stacks, Stack{Role: role, Type: "tcp_sock", Bytes: 2048, Count: 1, Frames: []string{"tcp_v4_connect"}})
		m.Top = append(m.Top, TopEndpoint{Role: role, Local: "10.0.0.1:1", PageBytes: uint64(3000 - i), Objects: map[string]int{"file": 1}})
	}
	return &Recording{Schema: Schema, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Version: "v1",
		Command: []string{"connprof", "run", "--ips", "20"}, Kind: KindRun, Machines: []*Machine{m}}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, name := range []string{"connprof.json", "connprof.json.gz", "-"} {
		want := fullRecording()
		var file bytes.Buffer
		if err := want.WriteNamed(&file, name); err != nil {
			t.Fatal(err)
		}
		if zipped := bytes.HasPrefix(file.Bytes(), []byte{0x1f, 0x8b}); zipped != strings.HasSuffix(name, ".gz") {
			t.Errorf("%s: gzipped is %v", name, zipped)
		}
		path := filepath.Join(t.TempDir(), "renamed") // the name does not matter to the reader
		if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read %+v, wrote %+v", name, got, want)
		}
	}
}

func written(t *testing.T, name string) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := fullRecording().WriteNamed(&file, name); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var file bytes.Buffer
	z := gzip.NewWriter(&file)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestADamagedRecordingSaysCauseAndFix(t *testing.T) {
	plain, gz := written(t, "r"), written(t, "r.gz")
	broken := bytes.Clone(gz)
	for i := range broken[20:60] {
		broken[20+i] ^= 0xff
	}
	const again, connprofs = "record again", "give a file that connprof wrote"
	tests := []struct {
		name       string
		data       []byte
		cause, fix string
	}{
		{"empty", nil, "is empty", again},
		{"only blanks", []byte(" \n"), "is empty", again},
		{"cut in half", plain[:len(plain)/2], "cut off after", again},
		{"cut after one byte", plain[:1], "cut off after 1 byte", again},
		{"the last brace is missing", plain[:len(plain)-2], "cut off after", again},
		{"gzip cut in half", gz[:len(gz)/2], "cut off", again},
		{"gzip cut in its header", gz[:5], "cut off", again},
		{"gzip cut after its header", gz[:10], "cut off", again},
		{"gzip without its checksum", gz[:len(gz)-8], "cut off", again},
		{"damaged gzip", broken, "damaged", again},
		{"damaged gzip header", []byte("\x1f\x8bnot gzip at all"), "damaged", again},
		{"gzip of a recording cut off", zipped(t, `{"schema": "connprof.recording/1", "load": {`), "cut off after", again},
		{"gzip of nothing", zipped(t, ""), "is empty", again},
		{"a later schema", []byte(`{"schema":"connprof.recording/3"}`), `schema "connprof.recording/3"`,
			"use the connprof that wrote it"},
		{"an empty schema", []byte(`{"schema":""}`), `schema ""`, "use the connprof that wrote it"},
		{"no schema", []byte(`{"name":"x"}`), `no "schema"`, connprofs},
		{"null", []byte("null\n"), `no "schema"`, connprofs},
		{"another kind of JSON", []byte("[1, 2]"), `no "schema"`, connprofs},
		{"a schema that is no text", []byte(`{"schema":1}`), `no "schema"`, connprofs},
		{"text", []byte("role,state\n"), "not JSON", connprofs},
		{"one letter", []byte("x"), "not JSON", connprofs},
		{"a letter behind the recording", append(bytes.TrimSpace(bytes.Clone(plain)), 'x'), "not JSON", connprofs},
		{"an ELF file", []byte("\x7fELF\x02\x01\x01\x00"), "not JSON", connprofs},
		{"a field of another type", []byte(`{"schema":"connprof.recording/2","machines":"none"}`),
			"does not fit its schema", again},
		{"no machine", []byte(`{"schema":"connprof.recording/2","machines":[]}`), "it has no machine", again},
		{"a machine that is none", []byte(`{"schema":"connprof.recording/2","machines":[null]}`), "it has no machine", again},
		{"a role that there is not", []byte(`{"schema":"connprof.recording/2","machines":[{"endpoints":[{"role":"king"}]}]}`),
			`no role "king"`, again},
		{"a field of another type in schema 1", []byte(`{"schema":"connprof.recording/1","endpoints":"none"}`),
			"does not fit its schema", again},
		{"another machine's part of no schema", []byte(`{"schema":"connprof.recording/1","peer":{}}`), `schema ""`,
			"use the connprof that wrote it"},
		{"another machine's part of a later schema", []byte(`{"schema":"connprof.recording/1","peer":` +
			`{"schema":"connprof.recording/2"}}`), `schema "connprof.recording/2"`, "use the connprof that wrote it"},
		{"a third machine", []byte(`{"schema":"connprof.recording/1","peer":{"schema":"connprof.recording/1","peer":{}}}`),
			`"peer" has a peer`, again},
		{"another machine's part that is none", []byte(`{"schema":"connprof.recording/1","peer":[]}`), `"peer"`, again},
		{"another machine's field of another type", []byte(`{"schema":"connprof.recording/1","peer":` +
			`{"schema":"connprof.recording/1","load":{"established":"all"}}}`), `"peer.load.established"`, again},
		{"cut off in another machine's part", []byte(`{"schema":"connprof.recording/1","peer":{"schema":"connprof.rec`),
			"cut off after", again},
	}
	for _, test := range tests {
		r, err := Read(bytes.NewReader(test.data))
		if err == nil {
			t.Errorf("%s: read as %+v", test.name, r)
			continue
		}
		if !strings.Contains(err.Error(), test.cause) || !strings.Contains(err.Error(), test.fix) {
			t.Errorf("%s: %q does not say %q and %q", test.name, err, test.cause, test.fix)
		}
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, cause := range map[string]string{bad: "not JSON", filepath.Join(dir, "none.json"): "no such file",
		dir: "is a directory"} {
		_, err := ReadFile(path)
		if err == nil {
			t.Errorf("%s was read", path)
			continue
		}
		for _, part := range []string{path, cause, "give a file that connprof wrote"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
	}
}

func TestFieldsOfALaterConnprofAreIgnored(t *testing.T) {
	r, err := Read(strings.NewReader(`{"schema":"connprof.recording/2","version":"v9","moon":{"phase":3},"machines":[{}]}`))
	if err != nil || r.Version != "v9" {
		t.Errorf("%+v, %v", r, err)
	}
}

// Every field of Losses is its own bit, so a loss that Total forgets leaves a gap.
func TestLossesTotalCountsEveryKind(t *testing.T) {
	var l Losses
	v := reflect.ValueOf(&l).Elem()
	for i := range v.NumField() {
		v.Field(i).SetUint(1 << i)
	}
	if want := uint64(1)<<v.NumField() - 1; l.Total() != want {
		t.Errorf("%b, want %b", l.Total(), want)
	}
}
