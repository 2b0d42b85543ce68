package hostfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

// holds checks what is in a directory: names and contents.
func holds(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	got := map[string]string{}
	for _, e := range entries {
		b, _ := os.ReadFile(filepath.Join(dir, e.Name()))
		got[e.Name()] = string(b)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

// bothWays runs a test with a file system that keeps a file without a name, and where no such file could be given one.
func bothWays(t *testing.T, test func(t *testing.T)) {
	t.Run("without a name", test)
	t.Run("with a name", func(t *testing.T) {
		done := make(chan struct{})
		go func() { // its thread has mounts of its own and ends with it
			defer close(done)
			runtime.LockOSThread()
			for _, err := range []error{unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS),
				unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("none", "/proc", "tmpfs", 0, "")} {
				if err != nil {
					t.Error(err)
					return
				}
			}
			test(t)
		}()
		<-done
	})
}

func TestAFileIsWrittenWholeOrNotAtAll(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "f")
		for _, s := range []string{"first", "second, longer", ""} {
			if err := Write(path, Options{Perm: 0o640, Sync: true}, text(s)); err != nil {
				t.Error(err)
			}
			holds(t, dir, map[string]string{"f": s})
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if err := Write(path, Options{Perm: 0o640}, text("kept")); err != nil {
			t.Error(err)
		}
		broken := errors.New("broken")
		if err := Write(path, Options{Perm: 0o600}, func(w io.Writer) error {
			_, err := io.WriteString(w, "half")
			return errors.Join(err, broken)
		}); !errors.Is(err, broken) {
			t.Errorf("the cause is lost: %v", err)
		}
		holds(t, dir, map[string]string{"f": "kept"})
	})
}

// What a killed process leaves is what there is at that moment.
func TestWhileItIsWrittenAFileHasNoName(t *testing.T) {
	dir := t.TempDir()
	if err := Write(filepath.Join(dir, "f"), Options{Perm: 0o600}, func(w io.Writer) error {
		_, err := w.Write(make([]byte, 1<<20))
		holds(t, dir, map[string]string{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAFileIsGivenToItsOwner(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "f")
		if err := Write(path, Options{Perm: 0o604, Owner: &Owner{UID: 65534, GID: 65533}}, text("x")); err != nil {
			t.Error(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil || st.Uid != 65534 || st.Gid != 65533 || st.Mode&0o777 != 0o604 {
			t.Errorf("owner %d:%d, mode %o, %v", st.Uid, st.Gid, st.Mode, err)
		}
	})
}

func TestOfSeveralWritersOneIsTheLast(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		dir := t.TempDir()
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				if err := Write(filepath.Join(dir, "f"), Options{Perm: 0o600}, text(strings.Repeat(fmt.Sprint(i), 100_000))); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		b, err := os.ReadFile(filepath.Join(dir, "f"))
		if err != nil || len(b) != 100_000 || strings.Trim(string(b), string(b[:1])) != "" {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		holds(t, dir, map[string]string{"f": string(b)})
	})
}

func TestWhatCannotBeWrittenLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "small")
	if err := errors.Join(os.Mkdir(full, 0o755), unix.Mount("none", full, "tmpfs", 0, "size=64k")); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(full, 0) }()
	for path, want := range map[string]error{
		filepath.Join(dir, "no", "f"): fs.ErrNotExist,
		filepath.Join(full, "f"):      unix.ENOSPC,
		full:                          fs.ErrExist, // a directory
	} {
		err := Write(path, Options{Perm: 0o600}, text(strings.Repeat("x", 100_000)))
		if !errors.Is(err, want) || strings.Contains(err.Error(), "/") {
			t.Errorf("%s: %v, want %v and no path", path, err, want)
		}
	}
	holds(t, full, map[string]string{})
	holds(t, dir, map[string]string{"small": ""})
}
