package vm

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/connprof/connprof/test/vm/wire"
)

// unpacked are the entries of an archive, in their order.
func unpacked(t *testing.T, path string) (names []string, entries map[string]cpio.Record) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(content)))
	if err != nil {
		t.Fatal(err)
	}
	entries = map[string]cpio.Record{}
	for _, r := range records {
		names = append(names, r.Name)
		entries[r.Name] = r
	}
	return names, entries
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
	job := wire.Job{Commands: []wire.Command{{Argv: []string{"/bin/program", "-x"}, Dir: "/bin"}}}
	archive := filepath.Join(dir, "initramfs")
	files := map[string]string{"/bin/program": program, "/bin/testdata/data": data}
	if err := writeInitramfs(archive, program, files, job); err != nil {
		t.Fatal(err)
	}
	names, entries := unpacked(t, archive)
	for name, mode := range map[string]uint64{"init": 0o100755, "bin": 0o040755, "bin/program": 0o100755, "bin/testdata": 0o040755,
		"bin/testdata/data": 0o100644, "out": 0o040755, "var": 0o040755, "var/lib": 0o040755, "dev/console": 0o020600} {
		if e := entries[name]; e.Mode != mode || e.UID != 0 || e.GID != 0 {
			t.Errorf("%s has mode %o and belongs to %d:%d, want %o and root's", name, e.Mode, e.UID, e.GID, mode)
		}
	}
	for i, name := range names {
		if above := filepath.Dir(name); above != "." && slices.Index(names, above) > i || slices.Index(names, name) != i {
			t.Errorf("%s comes before the directory it is in, or twice: %v", name, names)
		}
	}
	if console := entries["dev/console"]; console.Rmajor != 5 || console.Rminor != 1 {
		t.Errorf("the console is device %d:%d, want 5:1", console.Rmajor, console.Rminor)
	}
	if b, err := io.ReadAll(io.NewSectionReader(entries["bin/testdata/data"], 0, 100)); string(b) != "data" || err != nil {
		t.Errorf("data holds %q, %v", b, err)
	}
	text, err := io.ReadAll(io.NewSectionReader(entries["vmtest.json"], 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	var got wire.Job
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Commands) != 1 || got.Commands[0].Argv[1] != "-x" {
		t.Errorf("the job in the initramfs is %+v, want %+v", got, job)
	}
}

func TestInitramfsRefusesAFolder(t *testing.T) {
	dir := t.TempDir()
	err := writeInitramfs(filepath.Join(dir, "initramfs"), dir, nil, wire.Job{})
	if err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("error is %v, want one about no regular file", err)
	}
}

func TestTheSameContentMakesTheSameInitramfs(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	var archives [][]byte
	for _, name := range []string{"one", "two"} {
		if err := os.WriteFile(program, []byte("x"), 0o700); err != nil {
			t.Fatal(err)
		}
		archive := filepath.Join(dir, name)
		if err := writeInitramfs(archive, program, map[string]string{"/bin/program": program, "/a": program}, wire.Job{}); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(archive)
		if err != nil {
			t.Fatal(err)
		}
		archives = append(archives, content)
		if err := os.Remove(program); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("the archives differ")
	}
}
