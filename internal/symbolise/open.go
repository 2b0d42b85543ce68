package symbolise

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

var (
	errNotRegular = errors.New("it is not a regular file")
	errReplaced   = errors.New("the file at its path is another one now")
)

// openInRoot opens a regular file at a path as a process sees it. The kernel keeps every symbolic link and ".." on the way
// inside of the process's root (RESOLVE_IN_ROOT, Linux 5.6). O_PATH opens no device and no pipe. What it has found is opened
// in earnest only if it is a regular file.
func openInRoot(root, path string) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", root, err)
	}
	defer unix.Close(dir)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(dir, path, &how)
	if err != nil {
		return nil, fmt.Errorf("open %s below %s: %w", path, root, err)
	}
	defer unix.Close(fd)
	return reopen(fd, path)
}

// openLink opens what a link in /proc/PID leads to: map_files/START-LIMIT or exe. The kernel knows the file itself, without
// its path.
func openLink(link string) (*os.File, error) {
	fd, err := unix.Open(link, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", link, err)
	}
	defer unix.Close(fd)
	return reopen(fd, link)
}

// reopen opens for reading what O_PATH has found.
func reopen(fd int, name string) (*os.File, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, fmt.Errorf("stat %s: %w", name, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("open %s: %w", name, errNotRegular)
	}
	opened, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return os.NewFile(uintptr(opened), name), nil
}

// identity tells files apart. A file that was written to since is another one.
type identity struct {
	device, inode     uint64
	size              int64
	seconds, fraction int64
}

func identify(f *os.File) (identity, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return identity{}, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return identity{}, fmt.Errorf("read %s: %w", f.Name(), errNotRegular)
	}
	return identity{uint64(stat.Dev), stat.Ino, stat.Size, int64(stat.Mtim.Sec), int64(stat.Mtim.Nsec)}, nil
}

// is tells whether a mapping is of this file. Overlays and btrfs have devices of their own, which stat and /proc/PID/maps do
// not agree on. Their numbers have no major part.
func (id identity) is(m *mapping) bool {
	if id.inode != m.inode {
		return false
	}
	return id.device == m.device || unix.Major(id.device) == 0 || unix.Major(m.device) == 0
}

// openMapped opens the file of a mapping. The kernel's own link to it needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE. Else
// the file at the path must be the one that is mapped.
func openMapped(dir string, m *mapping) (*os.File, identity, error) {
	f, linkErr := openLink(filepath.Join(dir, "map_files", fmt.Sprintf("%x-%x", m.start, m.limit)))
	if linkErr == nil {
		id, err := identify(f)
		return keep(f, id, err)
	}
	if errors.Is(linkErr, errNotRegular) {
		return nil, identity{}, linkErr
	}
	f, err := openInRoot(filepath.Join(dir, "root"), m.name())
	if err == nil {
		if id, err := identify(f); err == nil && id.is(m) {
			return f, id, nil
		}
		f.Close()
		err = errReplaced
	}
	exe, exeErr := openLink(filepath.Join(dir, "exe"))
	if exeErr != nil {
		return nil, identity{}, fmt.Errorf("read %s: %w", m.name(), firstError(err, errReplaced))
	}
	if id, err := identify(exe); err == nil && id.is(m) {
		return exe, id, nil
	}
	exe.Close()
	return nil, identity{}, fmt.Errorf("read %s: %w", m.name(), firstError(err, errReplaced))
}

func keep(f *os.File, id identity, err error) (*os.File, identity, error) {
	if err != nil {
		f.Close()
		return nil, id, err
	}
	return f, id, nil
}

func firstError(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}
