package vm

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/connprof/connprof/test/vm/wire"
)

// unpacked is an entry as a reader of the format finds it.
type unpacked struct {
	name         string
	mode, links  uint64
	major, minor uint64
	content      string
}

// readCpio follows the format's description, not the writer: the fields by their offset, everything aligned to four.
func readCpio(t *testing.T, archive []byte) []unpacked {
	t.Helper()
	var entries []unpacked
	at := 0
	take := func(n int) []byte {
		if at+n > len(archive) {
			t.Fatalf("the archive ends at %d, wanted %d bytes at %d", len(archive), n, at)
		}
		part := archive[at : at+n]
		at = (at + n + 3) &^ 3
		return part
	}
	for {
		head := archive[min(at, len(archive)):]
		if len(head) < 110 || string(head[:6]) != "070701" {
			t.Fatalf("no header at %d: %.20q", at, head)
		}
		field := func(i int) uint64 {
			v, err := strconv.ParseUint(string(head[6+8*i:14+8*i]), 16, 32)
			if err != nil {
				t.Fatalf("field %d of the header at %d: %v", i, at, err)
			}
			return v
		}
		e := unpacked{mode: field(1), links: field(4), major: field(9), minor: field(10)}
		name := take(110 + int(field(11)))[110:]
		size := int(field(6))
		if name[len(name)-1] != 0 {
			t.Fatalf("the name %q does not end in a zero byte", name)
		}
		e.name = string(name[:len(name)-1])
		e.content = string(take(size))
		if e.name == "TRAILER!!!" {
			if at != len(archive) {
				t.Fatalf("%d bytes after the trailer", len(archive)-at)
			}
			return entries
		}
		entries = append(entries, e)
	}
}

func TestCpioHoldsWhatWasPutIn(t *testing.T) {
	var b bytes.Buffer
	c := newCpioWriter(&b)
	put := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// Sizes and name lengths of every remainder by four.
	put(c.device("/dev/console", 0o600, 5, 1))
	put(c.file("/a/b/one", 0o755, 1, strings.NewReader("1")))
	put(c.file("a/b/twos", 0o644, 2, strings.NewReader("22")))
	put(c.file("/a/three", 0o644, 3, strings.NewReader("333")))
	put(c.file("fours", 0o644, 4, strings.NewReader("4444")))
	put(c.file("/none", 0o644, 0, strings.NewReader("")))
	put(c.dir("/a/b"))
	put(c.close())

	want := []unpacked{
		{name: "dev", mode: 0o040755, links: 2},
		{name: "dev/console", mode: 0o020600, links: 1, major: 5, minor: 1},
		{name: "a", mode: 0o040755, links: 2},
		{name: "a/b", mode: 0o040755, links: 2},
		{name: "a/b/one", mode: 0o100755, links: 1, content: "1"},
		{name: "a/b/twos", mode: 0o100644, links: 1, content: "22"},
		{name: "a/three", mode: 0o100644, links: 1, content: "333"},
		{name: "fours", mode: 0o100644, links: 1, content: "4444"},
		{name: "none", mode: 0o100644, links: 1},
	}
	got := readCpio(t, b.Bytes())
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d: %+v", len(got), len(want), got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("entry %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestCpioRefusesAFileThatShrank(t *testing.T) {
	c := newCpioWriter(new(bytes.Buffer))
	if err := c.file("f", 0o644, 10, strings.NewReader("short")); err == nil {
		t.Error("no error for 5 bytes where 10 were announced")
	}
}

func TestInitramfsHasInitPlanAndFiles(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	data := filepath.Join(dir, "data")
	for path, mode := range map[string]os.FileMode{program: 0o700, data: 0o600} {
		if err := os.WriteFile(path, []byte(filepath.Base(path)), mode); err != nil {
			t.Fatal(err)
		}
	}
	plan := wire.Plan{Commands: []wire.Command{{Argv: []string{"/bin/program", "-x"}, Dir: "/bin"}}}
	archive := filepath.Join(dir, "initramfs")
	files := map[string]string{"/bin/program": program, "/bin/testdata/data": data}
	if err := writeInitramfs(archive, program, files, plan); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string]unpacked{}
	for _, e := range readCpio(t, content) {
		entries[e.name] = e
	}
	for name, mode := range map[string]uint64{
		"init": 0o100755, "bin/program": 0o100755, "bin/testdata/data": 0o100644, "out": 0o040755,
	} {
		if entries[name].mode != mode {
			t.Errorf("%s has mode %o, want %o", name, entries[name].mode, mode)
		}
	}
	var got wire.Plan
	if err := json.Unmarshal([]byte(entries["vmtest.json"].content), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Commands) != 1 || got.Commands[0].Argv[1] != "-x" {
		t.Errorf("the plan in the initramfs is %+v, want %+v", got, plan)
	}
}

func TestInitramfsRefusesAFolder(t *testing.T) {
	dir := t.TempDir()
	err := writeInitramfs(filepath.Join(dir, "initramfs"), dir, nil, wire.Plan{})
	if err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("error is %v, want one about no regular file", err)
	}
}
