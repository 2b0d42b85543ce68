// Package hostfile keeps files on the host: one that is written whole or not at all (write.go), and a journal of what a
// command has changed on the host, which one process at a time may write and any later one can undo (journal.go, lock.go).
// It imports nothing of the project.
package hostfile

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Options say how a file is written.
type Options struct {
	// Perm is the file's mode. 0 is that of the file which it replaces, and of a new one what the umask leaves of 0666.
	Perm  fs.FileMode
	Owner *Owner // nil is this process's
	// Sync has the file on the disk when Write returns.
	Sync bool
}

// Owner is a user and a group, by number.
type Owner struct{ UID, GID int }

// Write writes a file whole or not at all: into a new file in the same directory, which then takes its place. The error
// does not name the path.
//
// It is not google/renameio: that one gives the new file a name at once, and leaves it behind when the process is killed
// while it writes, which can take as long as a run does. Here it has no name where the file system knows O_TMPFILE.
func Write(path string, o Options, write func(io.Writer) error) error {
	return writeBy(path, filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d", filepath.Base(path), rand.Uint64())), o, write)
}

// writeBy is Write by way of the name draft, where a name is needed. It must not be there.
func writeBy(path, draft string, o Options, write func(io.Writer) error) error {
	created := fs.FileMode(0o600)
	if o.Perm == 0 {
		o.Perm = modeOf(path)
		created = cmp.Or(o.Perm, 0o666)
	}
	f, err := create(draft, created)
	if err != nil {
		return plain(err)
	}
	defer f.Close()
	if err = write(content{f}); err == nil {
		err = plain(o.finish(f, draft, path))
	}
	if err != nil && f.Name() != "" {
		_ = os.Remove(f.Name())
	}
	return err
}

// content is what Write's caller writes to.
type content struct{ file *os.File }

func (c content) Write(b []byte) (int, error) {
	n, err := c.file.Write(b)
	return n, plain(err)
}

// finish makes a written file what it has to be and gives it its name.
func (o Options) finish(f *os.File, draft, path string) error {
	if o.Owner != nil {
		if err := f.Chown(o.Owner.UID, o.Owner.GID); err != nil {
			return err
		}
	}
	if o.Perm != 0 {
		if err := f.Chmod(o.Perm); err != nil {
			return err
		}
	}
	if o.Sync {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := publish(f, draft, path); err != nil {
		return err
	}
	if o.Sync {
		return syncDirectory(filepath.Dir(path))
	}
	return nil
}

const ownFDs = "/proc/self/fd"

// modeOf is the mode of the file at path, 0 where there is none.
func modeOf(path string) fs.FileMode {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Mode().Perm()
}

// create opens a new file that has no name where the file system has that, and else the name draft.
func create(draft string, mode fs.FileMode) (*os.File, error) {
	if _, err := os.Stat(ownFDs); err == nil { // publish needs it
		fd, err := unix.Open(filepath.Dir(draft), unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, uint32(mode))
		if err == nil {
			return os.NewFile(uintptr(fd), ""), nil
		}
	}
	return os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
}

// publish gives a file of create the name path, and takes it from the file that had it. In between, where there was one,
// the new file has the name draft for the time of two system calls.
func publish(f *os.File, draft, path string) error {
	if f.Name() != "" {
		return os.Rename(f.Name(), path)
	}
	err := link(f, path)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	// A link does not replace a file; a rename does.
	if err := link(f, draft); err != nil {
		return err
	}
	if err := os.Rename(draft, path); err != nil {
		_ = os.Remove(draft)
		return err
	}
	return nil
}

func link(f *os.File, path string) error {
	err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("%s/%d", ownFDs, f.Fd()), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return fmt.Errorf("link it to its name: %w", err)
	}
	return nil
}

// syncDirectory makes a new name last.
func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // a file system that cannot
		return err
	}
	return nil
}

// plain is the kernel's own error where the operation and the path tell nobody anything: the path is a draft's, or the
// message names it already.
func plain(err error) error {
	var pathError *fs.PathError
	var linkError *os.LinkError
	var number syscall.Errno
	if (errors.As(err, &pathError) || errors.As(err, &linkError)) && errors.As(err, &number) {
		return number
	}
	return err
}
