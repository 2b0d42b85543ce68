package symbolise

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// madeProc is a /proc of one process whose root is a directory of the test.
func madeProc(t testing.TB, maps string) (proc, root string) {
	t.Helper()
	proc, root = t.TempDir(), t.TempDir()
	dir := filepath.Join(proc, "7")
	for _, err := range []error{os.Mkdir(dir, 0o755), os.Symlink(root, filepath.Join(dir, "root")), os.Mkdir(filepath.Join(root,
		"tmp"), 0o755),
		os.WriteFile(filepath.Join(dir, "maps"), []byte(maps), 0o644),
		os.WriteFile(filepath.Join(dir, "status"), []byte("Name:\tx\nNSpid:\t7\t3\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "stat"), []byte("7 (a) b) S"+strings.Repeat(" 0", 18)+" 99"+strings.Repeat(" 0", 30)), 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return proc, root
}

// mapped is a line of maps for a file.
func mapped(t testing.TB, start uint64, of, name string) string {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Stat(of, &stat); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x-%x r-xp 00000000 %x:%x %d  %s\n", start, start+0x10000, unix.Major(uint64(stat.Dev)),
		unix.Minor(uint64(stat.Dev)),
		stat.Ino, name)
}

func processOf(t testing.TB, proc string) *Process {
	t.Helper()
	s := NewStore(Options{Proc: proc})
	t.Cleanup(s.Close)
	p, err := s.Process(7)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// An ELF file with one function.
func small() []byte {
	return makeELF(elf.EM_X86_64, code(), madeSection{name: ".strtab", kind: elf.SHT_STRTAB, fill: fixed([]byte("\x00secret\x00"))},
		madeSection{name: ".symtab", kind: elf.SHT_SYMTAB, link: ".strtab", fill: fixed(le(make([]byte, 24),
			uint32(1), byte(elf.STT_FUNC), byte(0), uint16(1), uint64(codeAt), uint64(64)))})
}

func TestPathsAreFollowedWithinTheRootOfTheProcess(t *testing.T) {
	proc, root := madeProc(t, "")
	outside := filepath.Join(t.TempDir(), "outside")
	for _, at := range []string{outside, filepath.Join(root, "inside")} {
		if err := os.WriteFile(at, small(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []struct {
		name, to string
		found    bool
	}{
		{"absolute", outside, false},
		{"relative", "../../../../../../../../.." + outside, false},
		{"good", "/inside", true},
		{"up", "../../../inside", true},
		{"loop", "loop", false},
		{"magic", "/proc/self/exe", false},
	} {
		if err := os.Symlink(link.to, filepath.Join(root, link.name)); err != nil {
			t.Fatal(err)
		}
		f, err := openInRoot(filepath.Join(proc, "7", "root"), "/"+link.name)
		if (err == nil) != link.found {
			t.Errorf("%s: found %v, %v", link.name, err == nil, err)
		}
		if err == nil {
			f.Close()
		}
	}
}

func TestOnlyRegularFilesAreOpened(t *testing.T) {
	proc, root := madeProc(t, "")
	if err := unix.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	if err := unix.Bind(socket, &unix.SockaddrUnix{Name: filepath.Join(root, "socket")}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/fifo", "/socket", "/tmp"} {
		if _, err := openInRoot(filepath.Join(proc, "7", "root"), name); !errors.Is(err, errNotRegular) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := openInRoot("/", "/dev/zero"); !errors.Is(err, errNotRegular) {
		t.Errorf("/dev/zero: %v", err)
	}
}

func TestAFileThatWasReplacedIsNotTrusted(t *testing.T) {
	proc, root := madeProc(t, "")
	name := filepath.Join(root, "program")
	if err := os.WriteFile(name, small(), 0o644); err != nil {
		t.Fatal(err)
	}
	maps := mapped(t, madeBase, name, "/program") + mapped(t, madeBase+0x20000, name, "/program (deleted)")
	if err := os.WriteFile(filepath.Join(proc, "7", "maps"), []byte(maps), 0o644); err != nil {
		t.Fatal(err)
	}
	p := processOf(t, proc)
	if got := p.Frames([]uint64{codeAt}); got[0].Function != "secret" || got[0].Address != codeAt || got[0].Module != "program" {
		t.Errorf("%+v", got)
	}
	if err := os.Rename(name, name+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, small(), 0o644); err != nil {
		t.Fatal(err)
	}
	got := p.Frames([]uint64{codeAt + 0x20000})
	if got[0].Function != "" || !strings.Contains(got[0].Why, errReplaced.Error()) || got[0].String() != fmt.Sprintf("program+%#x",
		codeAt-madeBase) {
		t.Errorf("%+v", got)
	}
}

func TestALargeFileIsNotReadIntoMemory(t *testing.T) {
	proc, root := madeProc(t, "")
	name := filepath.Join(root, "program")
	if err := os.WriteFile(name, small(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 4<<30); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(proc, "7", "maps"), []byte(mapped(t, madeBase, name, "/program")), 0o644); err != nil {
		t.Fatal(err)
	}
	p := processOf(t, proc)
	if got := p.Frames([]uint64{codeAt}); got[0].Function != "secret" || p.store.files[p.maps[0].file.id].weight() > 1<<20 {
		t.Errorf("%+v, %d bytes", got, p.maps[0].file.weight())
	}
}

func TestAFileSystemThatDoesNotAnswerIsGivenUp(t *testing.T) {
	g := &gate{patience: 20 * time.Millisecond}
	release := make(chan struct{})
	for range mostStuck {
		if err := g.do(func() { <-release }); !errors.Is(err, errSlow) {
			t.Fatal(err)
		}
	}
	begun := time.Now()
	if err := g.do(func() { t.Error("it is called") }); !errors.Is(err, errSlow) || time.Since(begun) > g.patience {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
	close(release)
	for end := time.Now().Add(5 * time.Second); g.stuck.Load() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if err := g.do(func() {}); err != nil {
		t.Error(err)
	}
}

func TestPerfMaps(t *testing.T) {
	const lines = "1000 20 first\n0x1020 0x10 second name\nbad\n1000 10 again\n1100 0 empty\n1200 10 " // the last has no end
	proc, root := madeProc(t, "1000-2000 rwxp 00000000 00:00 0 \n")
	at := filepath.Join(root, "tmp", "perf-3.map")
	names := func(p *Process) string {
		var all []string
		for _, f := range p.Frames([]uint64{0x1000, 0x1011 + 1, 0x1025 + 1, 0x1101, 0x1205 + 1}) {
			all = append(all, f.Function)
		}
		return strings.Join(all, ",")
	}
	now := time.Now()
	write := func(text string) {
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * rereadAfter)
	}
	p := processOf(t, proc)
	p.store.now = func() time.Time { return now }
	if got := names(p); got != ",,,," {
		t.Errorf("without a map: %q", got)
	}
	write(lines)
	if got := names(p); got != "again,first,second name,," {
		t.Errorf("%q", got)
	}
	write(lines + "third\n")
	if got := names(p); got != "again,first,second name,,third" {
		t.Errorf("after more lines: %q", got)
	}
	write("1000 1000 new\n")
	p.perf.list = nil // every address is looked up again
	if got := names(p); got != "new,new,new,new,new" {
		t.Errorf("after it was written anew: %q", got)
	}
}

func TestAHostilePerfMapIsNotFollowed(t *testing.T) {
	proc, root := madeProc(t, "1000-2000 rwxp 00000000 00:00 0 \n")
	at := filepath.Join(root, "tmp", "perf-3.map")
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("1000 1000 stolen\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func() error{
		"a link out of the container": func() error { return os.Symlink(outside, at) },
		"a pipe":                      func() error { return unix.Mkfifo(at, 0o644) },
		"a directory":                 func() error { return os.Mkdir(at, 0o755) },
		"a gigabyte without a line": func() error {
			return errors.Join(os.WriteFile(at, nil, 0o644), os.Truncate(at, 1<<30))
		},
	} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		p := processOf(t, proc)
		begun := time.Now()
		got := p.Frames([]uint64{0x1000})
		if spent := time.Since(begun); len(got) != 1 || got[0].Function != "" || got[0].Module != moduleJIT || spent > 10*time.Second {
			t.Errorf("%s: %+v after %v", name, got, spent)
		}
		if err := os.RemoveAll(at); err != nil {
			t.Fatal(err)
		}
	}
}
