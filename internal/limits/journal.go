package limits

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// DefaultJournal is where --fix writes down the old values.
const DefaultJournal = "/var/lib/connprof/limits.json"

const journalSchema = "connprof.limits/1"

// journal is what --fix has changed since the host was booted. It is written before the first change.
type journal struct {
	Schema  string   `json:"schema"`
	BootID  string   `json:"boot_id"` // after another boot the kernel's own values are back
	Changes []change `json:"changes"`
}

// change is one sysctl that was raised, perhaps more than once.
type change struct {
	Sysctl string `json:"sysctl"`
	// Netns is the inode number of the network namespace it was changed in, for a sysctl that each has its own of.
	Netns uint64 `json:"netns,omitempty"`
	Old   string `json:"old"`
	// Wrote is every value given to it: a value that is none of these is somebody else's.
	Wrote []string `json:"wrote"`
}

// find is the change of a sysctl in a namespace, nil for none.
func (j *journal) find(sysctl string, netns uint64) *change {
	for i := range j.Changes {
		if c := &j.Changes[i]; c.Sysctl == sysctl && c.Netns == netns {
			return c
		}
	}
	return nil
}

// readJournal returns nil where there is no journal.
func readJournal(path string) (*journal, error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("read the journal %s: permission denied; run as root", path)
	case err != nil:
		return nil, fmt.Errorf("read the journal: %w; name another one with --journal", err)
	}
	j := &journal{}
	decoder := json.NewDecoder(bytes.NewReader(b))
	if err := decoder.Decode(j); err != nil || decoder.More() {
		return nil, badJournal(path, "it is damaged, or no JSON")
	}
	if j.Schema != journalSchema {
		return nil, badJournal(path, fmt.Sprintf("its schema is %q, not %q", j.Schema, journalSchema))
	}
	for _, c := range j.Changes {
		if problem := c.problem(); problem != "" {
			return nil, badJournal(path, problem)
		}
	}
	return j, nil
}

func badJournal(path, why string) error {
	return fmt.Errorf("%s is no journal of connprof: %s; look what it holds and move it away: mv %s %s.bad", path, why, path,
		path)
}

// problem says why a change cannot be connprof's: what root writes must not come from anybody's file.
func (c *change) problem() string {
	if !slices.ContainsFunc(limits, func(l limit) bool { return l.sysctl != "" && l.sysctl == c.Sysctl }) {
		return fmt.Sprintf("it names %q, which connprof never changes", c.Sysctl)
	}
	if len(c.Wrote) == 0 {
		return fmt.Sprintf("it does not say what %s was set to", c.Sysctl)
	}
	for _, value := range append([]string{c.Old}, c.Wrote...) {
		if strings.Trim(value, "0123456789 ") != "" || strings.TrimSpace(value) == "" {
			return fmt.Sprintf("%q is no value of %s", value, c.Sysctl)
		}
	}
	return ""
}

// write replaces the journal, or removes it when it holds no change. It is on the disk when write returns.
func (j *journal) write(path string) error {
	if len(j.Changes) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return journalError(path, err)
		}
		return nil
	}
	text, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return journalError(path, err)
	}
	if err := replaceFile(path, append(text, '\n')); err != nil {
		return journalError(path, err)
	}
	return nil
}

// draft is the journal's name while it is written: one name, so that what a crash leaves of it does not pile up.
func draft(path string) string { return path + ".new" }

func replaceFile(path string, text []byte) error {
	if err := os.Remove(draft(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(draft(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// syncDirectory makes a rename last.
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

// journalError says what to do where the journal cannot be locked or written; until it is written, nothing is changed.
func journalError(path string, err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		err = number // the name of a temporary file tells nobody anything
	}
	fix := "name another place with --journal"
	if errors.Is(err, fs.ErrPermission) {
		fix = "run as root, or " + fix
	}
	return fmt.Errorf("keep the old values in %s: %w; %s", path, err, fix)
}

func lockName(path string) string { return path + ".lock" }

// lockJournal keeps a second connprof from the journal. Its directory is made if it is not there.
func lockJournal(path string) (unlock func(), err error) {
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, journalError(path, err)
	}
	name := lockName(path)
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, journalError(path, err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("another connprof is changing limits and holds %s; wait until it is done", name)
		}
		if err != nil {
			f.Close()
			return nil, journalError(path, err)
		}
		// The one who held it before may have removed the file meanwhile: then the lock is on a file without a name.
		if sameFile(f, name) {
			return func() { _ = os.Remove(name); f.Close() }, nil
		}
		f.Close()
	}
}

func sameFile(f *os.File, name string) bool {
	a, err1 := f.Stat()
	b, err2 := os.Stat(name)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// inode is a file's inode number, 0 where it cannot be had.
func inode(path string) uint64 {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0
	}
	return st.Ino
}
