package loader

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
)

// reached is the network namespaces that something leads to.
type reached struct {
	namespaces []*reachedNetns
	known      map[uint32]bool
	missed     []MissedNetns
}

// reachedNetns is a namespace that can be entered through a file.
type reachedNetns struct {
	inode uint32
	file  *os.File
}

// enterError says that a namespace cannot be entered.
type enterError struct{ cause error }

func (e *enterError) Error() string {
	if errors.Is(e.cause, unix.EPERM) {
		return "cannot be entered: " + e.cause.Error() + " (it takes CAP_SYS_ADMIN, and CAP_SYS_PTRACE where a process is of another user)"
	}
	return "cannot be entered: " + e.cause.Error()
}

func (e *enterError) Unwrap() error { return e.cause }

func (n *reachedNetns) Inode() uint32 { return n.inode }

// Do runs f on a thread of its own, which ends with it.
func (n *reachedNetns) Do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- &enterError{err}
			return
		}
		done <- f()
	}()
	return <-done
}

func (r *reached) close() {
	for _, n := range r.namespaces {
		n.file.Close()
	}
}

func (r *reached) inodes() (inodes []uint32) {
	for inode := range r.known {
		inodes = append(inodes, inode)
	}
	slices.Sort(inodes)
	return inodes
}

// reachable finds what processes and threads are in, what is mounted, and what open sockets are of.
func (p *Probes) reachable() (*reached, error) {
	r := &reached{known: map[uint32]bool{}}
	for _, pattern := range []string{"/proc/[0-9]*/ns/net", "/proc/[0-9]*/task/[0-9]*/ns/net"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return r, err
		}
		for _, path := range paths {
			r.add(path)
		}
	}
	mounts, err := nsfsMounts()
	if err != nil {
		return r, err
	}
	for _, path := range mounts {
		r.add(path)
	}
	return r, p.OpenFiles(r.addSocket)
}

// add opens the namespace that a path names. One whose process has ended meanwhile is found by another, or gone.
func (r *reached) add(path string) {
	var stat unix.Stat_t
	if unix.Stat(path, &stat) != nil || r.known[uint32(stat.Ino)] {
		return
	}
	if f, err := os.Open(path); err == nil {
		r.take(f, uint32(stat.Ino))
	}
}

// take keeps the file if it is of the namespace it was opened as.
func (r *reached) take(f *os.File, inode uint32) (taken bool) {
	var stat unix.Stat_t
	if unix.Fstat(int(f.Fd()), &stat) != nil || uint32(stat.Ino) != inode {
		f.Close()
		return false
	}
	r.known[inode] = true
	r.namespaces = append(r.namespaces, &reachedNetns{inode, f})
	return true
}

// addSocket takes the namespace of a socket where nothing else leads to it.
func (r *reached) addSocket(file *kernel.OpenFile) error {
	if r.known[file.Netns] {
		return nil
	}
	f, err := netnsOfSocket(int(file.PID), int(file.FD))
	if err == nil && !r.take(f, file.Netns) {
		err = fmt.Errorf("only descriptor %d of thread %d leads to it, whose table of files is its own", file.FD, file.TID)
	}
	if err != nil {
		r.known[file.Netns] = true
		r.missed = append(r.missed, MissedNetns{file.Netns, &enterError{err}})
	}
	return nil
}

// netnsOfSocket opens the namespace of another process's socket, which a copy of the descriptor leads to for a moment.
func netnsOfSocket(pid, fd int) (*os.File, error) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("only a socket of process %d leads to it, which cannot be opened: %w", pid, err)
	}
	defer unix.Close(process)
	socket, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		return nil, fmt.Errorf("only descriptor %d of process %d leads to it, which cannot be copied: %w", fd, pid, err)
	}
	defer unix.Close(socket)
	netns, err := unix.IoctlRetInt(socket, unix.SIOCGSKNS)
	if err != nil {
		return nil, fmt.Errorf("only descriptor %d of process %d leads to it, which does not tell: %w", fd, pid, err)
	}
	return os.NewFile(uintptr(netns), "network namespace of a socket"), nil
}

// nsfsMounts are the paths at which namespaces are mounted (ip netns, container runtimes).
func nsfsMounts() (paths []string, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("look for mounted network namespaces: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 && strings.Contains(lines.Text(), " - nsfs ") && strings.HasPrefix(fields[3], "net:") {
			paths = append(paths, fields[4])
		}
	}
	return paths, nil
}

var _ Netns = (*reachedNetns)(nil)
