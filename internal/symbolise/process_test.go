package symbolise

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMapsHaveTheCodeOfAProcess(t *testing.T) {
	const maps = `00400000-00401000 r--p 00000000 08:01 5 /usr/bin/a b
00401000-00402000 r-xp 00001000 08:01 5 /usr/bin/a b
7f0000000000-7f0000001000 rwxp 00000000 00:00 0 
7f0000002000-7f0000003000 r-xp 00000000 103:1fffff 77   /lib/x\012y (deleted)
zz-yy r-xp 0 0:0 0
7fff00000000-7fff00001000 r-xp 00000000 00:00 0                          [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
`
	found, sum, err := readMaps(strings.NewReader(maps))
	if err != nil || len(found) != 5 {
		t.Fatalf("%d mappings, %v", len(found), err)
	}
	var names []string
	for _, m := range found {
		names = append(names, m.name())
	}
	want := []string{"/usr/bin/a b", "", "/lib/x\ny", "[vdso]", "[vsyscall]"}
	if !slices.Equal(names, want) || found[2].inode != 77 || found[0].offset != 0x1000 || !found[0].isFile() || found[1].isFile() {
		t.Errorf("%q", names)
	}
	for address, at := range map[uint64]int{0x401000: 0, 0x401fff: 0, 0x402000: -1, 0: -1, 0x7f0000000800: 1, 1<<64 - 1: -1,
		0xffffffffff600000: 4} {
		got := find(found, address)
		if at < 0 && got != nil || at >= 0 && got != found[at] {
			t.Errorf("%#x is in %+v", address, got)
		}
	}
	if _, other, _ := readMaps(strings.NewReader(strings.Replace(maps, "00001000 08", "00000000 08", 1))); other == sum {
		t.Error("other mappings have the same sum")
	}
	long := strings.Repeat("x", 3*longestLine)
	if found, _, err := readMaps(strings.NewReader("1000-2000 r-xp 0 0:0 0 " + long + "\n" + maps)); err != nil || len(found) != 5 {
		t.Errorf("after a long line: %d mappings, %v", len(found), err)
	}
}

func TestAProcessThatEndsKeepsWhatWasRead(t *testing.T) {
	proc, root := madeProc(t, "")
	name := filepath.Join(root, "program")
	if err := os.WriteFile(name, small(), 0o644); err != nil {
		t.Fatal(err)
	}
	maps := filepath.Join(proc, "7", "maps")
	if err := os.WriteFile(maps, []byte(mapped(t, madeBase, name, "/program")), 0o644); err != nil {
		t.Fatal(err)
	}
	p := processOf(t, proc)
	if got := p.Frames([]uint64{codeAt}); got[0].Function != "secret" {
		t.Fatalf("%+v", got)
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(proc, "7")), os.Remove(name)); err != nil {
		t.Fatal(err)
	}
	if err := p.Refresh(); !errors.Is(err, ErrGone) {
		t.Errorf("refreshing: %v", err)
	}
	if got := p.Frames([]uint64{codeAt + 8}); got[0].Function != "secret" {
		t.Errorf("%+v", got)
	}
	if _, err := p.store.Process(8); !errors.Is(err, ErrGone) {
		t.Errorf("another process: %v", err)
	}
	p.store.Forget(7)
	if len(p.store.files) != 0 {
		t.Errorf("%d files are still open", len(p.store.files))
	}
}

func TestRefreshFindsNewCodeAndKeepsOpenFiles(t *testing.T) {
	proc, root := madeProc(t, "")
	maps := filepath.Join(proc, "7", "maps")
	var lines string
	for i, name := range []string{"program", "library"} {
		at := filepath.Join(root, name)
		if err := os.WriteFile(at, append(small(), make([]byte, i)...), 0o644); err != nil {
			t.Fatal(err)
		}
		lines += mapped(t, madeBase+uint64(i)*0x20000, at, "/"+name)
	}
	first, _, _ := strings.Cut(lines, "\n")
	if err := os.WriteFile(maps, []byte(first+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := processOf(t, proc)
	now := p.read
	p.store.now = func() time.Time { return now }
	if got := p.Frames([]uint64{codeAt, codeAt + 0x20001}); got[0].Function != "secret" || got[1].Module != moduleNoCode {
		t.Fatalf("%+v", got)
	}
	known := p.maps[0].file
	if err := os.WriteFile(maps, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * refreshAfter)
	if got := p.Frames([]uint64{codeAt, codeAt + 0x20001}); got[1].Module != "library" || got[1].Function != "secret" {
		t.Errorf("%+v", got)
	}
	if p.maps[0].file != known || len(p.store.files) != 2 {
		t.Errorf("%d files", len(p.store.files))
	}
}

func TestBoundsOnFilesAndProcesses(t *testing.T) {
	proc, root := madeProc(t, "")
	var lines strings.Builder
	for i := range 8 {
		at := filepath.Join(root, string(rune('a'+i)))
		if err := os.WriteFile(at, small(), 0o644); err != nil {
			t.Fatal(err)
		}
		lines.WriteString(mapped(t, madeBase+uint64(i)*0x20000, at, "/"+filepath.Base(at)))
	}
	if err := os.WriteFile(filepath.Join(proc, "7", "maps"), []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(proc, "8"), os.DirFS(filepath.Join(proc, "7"))); err != nil {
		t.Fatal(err)
	}
	s := NewStore(Options{Proc: proc, MaxFiles: 3, MaxProcesses: 1})
	defer s.Close()
	p, err := s.Process(7)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for i := range 8 {
			if got := p.Frames([]uint64{codeAt + uint64(i)*0x20000}); got[0].Function != "secret" || len(s.files) > 3 {
				t.Fatalf("%+v, with %d files", got, len(s.files))
			}
		}
	}
	if _, err := s.Process(8); err != nil || len(s.processes) != 1 || s.processes[8] == nil {
		t.Errorf("%d processes: %v", len(s.processes), err)
	}
}
