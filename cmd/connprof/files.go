package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// checkTarget fails early where a file could not be written at the end of a run.
func checkTarget(path string) error {
	if path == "-" || path == "" {
		return nil
	}
	if info, err := os.Stat(path); err == nil {
		if info.IsDir() {
			return fmt.Errorf("write %s: it is a directory; give a file name in it", path)
		}
		if !info.Mode().IsRegular() {
			return nil
		}
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("write %s: there is no directory %s; make it first", path, dir)
	case err != nil:
		return fmt.Errorf("write %s: %w", path, err)
	case !info.IsDir():
		return fmt.Errorf("write %s: %s is not a directory", path, dir)
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return fmt.Errorf("write %s: directory %s is not writable: %w", path, dir, err)
	}
	return nil
}

// writeFile writes a file whole or not at all: into a new file beside it that then takes its place. "-" is standard
// output, and devices are written to directly. Under sudo the file is given to the invoking user.
func writeFile(path string, write func(io.Writer) error) error {
	if path == "-" {
		return buffered(os.Stdout, write)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		return errors.Join(buffered(f, write), f.Close())
	}
	if err := checkTarget(path); err != nil {
		return err
	}
	f, err := newFile(path)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = errors.Join(buffered(f, write), giveToInvoker(f), f.Chmod(0o644))
	if err == nil {
		err = publish(f, path)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		if f.Name() != "" {
			_ = os.Remove(f.Name())
		}
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// newFile opens a file in the directory of path, without a name where the file system has that: nothing is left of it
// if the process is killed while it writes.
func newFile(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	if _, err := os.Stat(ownFDs); err == nil { // publish needs it
		if fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600); err == nil {
			return os.NewFile(uintptr(fd), ""), nil
		}
	}
	return os.CreateTemp(dir, "."+filepath.Base(path)+".*")
}

const ownFDs = "/proc/self/fd"

// publish gives a file of newFile the name path, and takes it from the file that had it.
func publish(f *os.File, path string) error {
	if f.Name() != "" {
		return os.Rename(f.Name(), path)
	}
	// A link does not replace a file; a rename does.
	name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d", filepath.Base(path), rand.Uint64()))
	err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("%s/%d", ownFDs, f.Fd()), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return fmt.Errorf("link it to its name: %w", err)
	}
	if err := os.Rename(name, path); err != nil {
		_ = os.Remove(name)
		return err
	}
	return nil
}

func buffered(w io.Writer, write func(io.Writer) error) error {
	b := bufio.NewWriterSize(w, 64<<10)
	return errors.Join(write(b), b.Flush())
}

// giveToInvoker hands a file made under sudo to the user who called sudo.
func giveToInvoker(f *os.File) error {
	uid, errUID := strconv.Atoi(os.Getenv("SUDO_UID"))
	gid, errGID := strconv.Atoi(os.Getenv("SUDO_GID"))
	if os.Geteuid() != 0 || errUID != nil || errGID != nil {
		return nil
	}
	return f.Chown(uid, gid)
}
