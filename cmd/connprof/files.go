package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/hostfile"
)

// checkOutput fails early where a file could not be written at the end of a run.
func checkOutput(path string) error {
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

// writeFile writes a file whole or not at all. "-" is standard output, and devices are written to directly. Under sudo the
// file is given to the invoking user.
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
	if err := checkOutput(path); err != nil {
		return err
	}
	o := hostfile.Options{Perm: 0o644, Owner: invoker()}
	if err := hostfile.Write(path, o, func(w io.Writer) error { return buffered(w, write) }); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func buffered(w io.Writer, write func(io.Writer) error) error {
	b := bufio.NewWriterSize(w, 64<<10)
	return errors.Join(write(b), b.Flush())
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
