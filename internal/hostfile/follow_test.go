package hostfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLinksAreFollowedAsTheKernelDoes(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	shared := in("shared")
	if err := errors.Join(os.Mkdir(shared, 0o755), os.Chmod(shared, 0o777|os.ModeSticky), os.WriteFile(in("file"), nil, 0o600),
		os.Symlink("file", in("relative")), os.Symlink(in("relative"), in("absolute")), os.Symlink("none", in("dangling")),
		os.Symlink("loop", in("loop")), os.Symlink(in("file"), filepath.Join(shared, "mine")),
		os.Symlink(in("file"), filepath.Join(shared, "another's")), os.Lchown(filepath.Join(shared, "another's"), 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{in("file"): in("file"), in("relative"): in("file"), in("absolute"): in("file"),
		in("dangling"): in("none"), in("none"): in("none"), filepath.Join(shared, "mine"): in("file")} {
		if got, err := Follow(path); got != want || err != nil {
			t.Errorf("%s leads to %s, %v", path, got, err)
		}
	}
	for path, want := range map[string]error{in("loop"): unix.ELOOP, filepath.Join(shared, "another's"): unix.EACCES} {
		if got, err := Follow(path); !errors.Is(err, want) {
			t.Errorf("%s leads to %s, %v, want %v", path, got, err, want)
		}
	}
}

func TestANewFileHasWhatTheUmaskLeavesAndAnOldOneItsOwnMode(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		defer unix.Umask(unix.Umask(0o027))
		path := filepath.Join(t.TempDir(), "f")
		for _, want := range []os.FileMode{0o640, 0o606} {
			if want != 0o640 {
				if err := os.Chmod(path, want); err != nil {
					t.Error(err)
				}
			}
			if err := Write(path, Options{}, text("x")); err != nil {
				t.Error(err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode() != want {
				t.Errorf("mode %v, %v, want %v", info.Mode(), err, want)
			}
		}
	})
}
