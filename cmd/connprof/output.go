package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/hostfile"
)

// output is where a command writes one of its results: a file, which is written whole or not at all, or a stream, which is
// a descriptor of the command's own, a pipe or a device.
type output struct {
	flag, name string
	path       string   // of a file, where the links lead
	stream     *os.File // open; nil for a file
	key        string   // the same for two outputs of which one would write over the other; empty where none would
}

const stdoutName = "-"

// openOutput finds out where a name leads, and fails where nothing could be written to it at the end of a run. It waits for
// nobody: a pipe has to have a reader.
func openOutput(flag, name string) (*output, error) {
	o := &output{flag: flag, name: name}
	err := o.open()
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return o, nil
}

func (o *output) open() error {
	if fd, ok := descriptor(o.name); ok {
		return o.useDescriptor(fd)
	}
	path, err := hostfile.Follow(o.name)
	if err != nil {
		return plainCause(err)
	}
	o.path = path
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := o.checkDirectory(); err != nil {
			return err
		}
		return o.keyOfNew()
	case err != nil:
		return plainCause(err)
	case info.IsDir():
		return errors.New("it is a directory; give a file name in it")
	case info.Mode().IsRegular():
		o.key = keyOf(info)
		return o.checkDirectory()
	case info.Mode()&(fs.ModeNamedPipe|fs.ModeCharDevice) == 0:
		return errors.New("it is neither a file nor a pipe nor a terminal; give a file name")
	}
	if info.Mode()&fs.ModeNamedPipe != 0 {
		o.key = keyOf(info)
	}
	o.stream, err = os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, unix.ENXIO) {
		return errors.New("it is a pipe that nobody reads; start the reader first")
	}
	return plainCause(err)
}

// descriptor is the number of the command's own descriptor that a name stands for.
func descriptor(name string) (fd int, ok bool) {
	switch name = filepath.Clean(name); name {
	case stdoutName, "/dev/stdout":
		return unix.Stdout, true
	case "/dev/stderr":
		return unix.Stderr, true
	}
	for _, prefix := range []string{"/dev/fd/", "/proc/self/fd/"} {
		if digits, found := strings.CutPrefix(name, prefix); found {
			fd, err := strconv.Atoi(digits)
			return fd, err == nil && fd >= 0
		}
	}
	return 0, false
}

// useDescriptor writes to a descriptor, not to the file that it has open: that would be written from its beginning, or lose
// what it has.
func (o *output) useDescriptor(fd int) error {
	o.key = fmt.Sprint("descriptor ", fd)
	switch fd {
	case unix.Stdout:
		o.stream, o.name = os.Stdout, "standard output" // with it, SIGPIPE ends a report as it ends other programs
	case unix.Stderr:
		o.stream, o.name = os.Stderr, "standard error"
	default:
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return fmt.Errorf("descriptor %d is not open: %w", fd, err)
		}
		o.stream = os.NewFile(uintptr(own), o.name)
	}
	if info, err := o.stream.Stat(); err == nil && info.Mode()&fs.ModeCharDevice == 0 {
		o.key = keyOf(info)
	}
	return nil
}

func (o *output) checkDirectory() error {
	dir := filepath.Dir(o.path)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no directory %s; make it first", dir)
	case err != nil:
		return plainCause(err)
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return fmt.Errorf("directory %s is not writable: %w", dir, err)
	}
	return nil
}

func keyOf(info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// keyOfNew is the key of a file that is not there yet: its name in its directory, however that is spelled.
func (o *output) keyOfNew() error {
	info, err := os.Stat(filepath.Dir(o.path))
	if err != nil {
		return plainCause(err)
	}
	o.key = keyOf(info) + "/" + filepath.Base(o.path)
	return nil
}

// plainCause is an error without the path, which the message has already.
func plainCause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// toStdout is whether something else than the text goes to standard output.
func (o *output) toStdout() bool { return o.stream == os.Stdout }

// close closes a stream that is not the command's own.
func (o *output) close() {
	if o.stream != nil && o.stream != os.Stdout && o.stream != os.Stderr {
		_ = o.stream.Close() // what was written has been reported
	}
}

// write writes a file whole or not at all, and to a stream at once. Under sudo a file is given to the invoking user.
func (o *output) write(write func(io.Writer) error) error {
	var err error
	if o.stream != nil {
		err = plainCause(buffered(o.stream, write))
	} else {
		options := hostfile.Options{Owner: invoker()}
		err = hostfile.Write(o.path, options, func(w io.Writer) error { return buffered(w, write) })
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", o.name, err)
	}
	return nil
}

func buffered(w io.Writer, write func(io.Writer) error) error {
	b := bufio.NewWriterSize(w, 64<<10)
	if err := write(b); err != nil {
		return err
	}
	return b.Flush()
}

// invoker is the user who called sudo, nil where nobody did.
func invoker() *hostfile.Owner {
	uid, errUID := strconv.Atoi(os.Getenv("SUDO_UID"))
	gid, errGID := strconv.Atoi(os.Getenv("SUDO_GID"))
	if os.Geteuid() != 0 || errUID != nil || errGID != nil {
		return nil
	}
	return &hostfile.Owner{UID: uid, GID: gid}
}
