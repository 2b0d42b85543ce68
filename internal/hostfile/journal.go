package hostfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// Journal is a file that tells what a command has changed on the host, as JSON. T has a field "schema".
type Journal[T any] struct {
	Path    string
	Default string // the usual path: its directory is made when it is needed, and removed when it is empty
	Schema  string // such as connprof.aliases/1
	Perm    fs.FileMode

	Empty func(T) bool  // there is nothing to undo: such a journal is no file
	Check func(T) error // what the command cannot have written

	Writer string // the command, such as connprof netup
	Undo   string // the command that undoes what the journal tells, such as netdown
	Repair string // what to do about a journal that is damaged
}

// journalLimit is in bytes; no journal comes near.
const journalLimit = 16 << 20

// Read reads and checks the journal. Where there is none, found is false.
func (j Journal[T]) Read() (content T, found bool, err error) {
	b, err := readRegular(j.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return content, false, nil
	case errors.Is(err, fs.ErrPermission):
		return content, false, fmt.Errorf("read journal %s: %w; run as root", j.Path, err)
	case err != nil:
		return content, false, fmt.Errorf("read journal %s: %w", j.Path, err)
	}
	content, err = j.decode(b)
	return content, err == nil, err
}

func (j Journal[T]) decode(b []byte) (content T, err error) {
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return content, j.damaged(err)
	}
	if head.Schema != j.Schema {
		return content, j.foreign(head.Schema)
	}
	if err = json.Unmarshal(b, &content); err == nil {
		err = j.Check(content)
	}
	if err != nil {
		var none T
		return none, j.damaged(err)
	}
	return content, nil
}

func (j Journal[T]) damaged(err error) error {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		err = fmt.Errorf("the %s at byte %d is out of place", wrongType.Value, wrongType.Offset)
	}
	return fmt.Errorf("journal %s is damaged: %w; %s", j.Path, err, j.Repair)
}

func (j Journal[T]) foreign(schema string) error {
	if strings.HasPrefix(schema, strings.TrimRight(j.Schema, "0123456789")) {
		return fmt.Errorf("journal %s was written by another version of connprof (schema %s, this one has %s); "+
			"run that version's %s first", j.Path, strconv.Quote(schema), j.Schema, j.Undo)
	}
	return fmt.Errorf("%s is no journal of %s (it does not have the schema %s); it was left alone: look what it holds and "+
		"move it away (mv %s %s.bad), or give another file with --journal", j.Path, j.Writer, j.Schema, j.Path, j.Path)
}

// readRegular reads a file, and waits for nobody who might write into a pipe of that name.
func readRegular(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, plain(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file; give another one with --journal")
	}
	if info.Size() > journalLimit {
		return nil, fmt.Errorf("%d bytes are too many for a journal; give another file with --journal", info.Size())
	}
	b, err := io.ReadAll(io.LimitReader(f, journalLimit))
	return b, plain(err)
}

// draft is the journal's name while it is written, where one is needed: one name, so that what a killed process left of it
// does not pile up.
func (j Journal[T]) draft() string {
	return filepath.Join(filepath.Dir(j.Path), "."+filepath.Base(j.Path)+".draft")
}

// Untouched tells whether there is neither a journal nor anything that a killed process left of one.
func (j Journal[T]) Untouched() bool {
	for _, name := range []string{j.Path, j.draft()} {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// Opened is a journal that nobody else may change until it is closed.
type Opened[T any] struct {
	Content T
	Found   bool // there was one

	journal Journal[T]
	lock    *flock.Flock
}

// Open locks and reads the journal, and makes sure that it can be written.
func (j Journal[T]) Open() (*Opened[T], error) {
	directory := filepath.Dir(j.Path)
	lock, err := lockDirectory(directory, j.ensureDirectory)
	var locked *lockedError
	if errors.As(err, &locked) {
		return nil, err
	}
	if err != nil {
		return nil, j.unwritable(err)
	}
	o := &Opened[T]{journal: j, lock: lock}
	if o.Content, o.Found, err = j.Read(); err == nil {
		err = j.checkWritable(directory)
	}
	if err != nil {
		o.Close()
		return nil, err
	}
	return o, nil
}

func (j Journal[T]) ensureDirectory() error {
	if j.Path != j.Default {
		return nil
	}
	directory := filepath.Dir(j.Path)
	if err := os.Mkdir(directory, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make directory %s: %w", directory, plain(err))
	}
	return nil
}

func (j Journal[T]) checkWritable(directory string) error {
	if err := unix.Access(directory, unix.W_OK); err != nil {
		return j.unwritable(fmt.Errorf("directory %s is not writable: %w", directory, err))
	}
	if err := os.Remove(j.draft()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return j.unwritable(fmt.Errorf("remove %s, left by one that was killed: %w", j.draft(), plain(err)))
	}
	return nil
}

func (j Journal[T]) unwritable(err error) error {
	fix := "give another file with --journal"
	if errors.Is(err, fs.ErrPermission) {
		fix = "run as root, or " + fix
	}
	return fmt.Errorf("write journal %s: %w; %s", j.Path, err, fix)
}

// Write puts the content on the disk, whole or not at all, before it returns; an empty journal is removed.
func (o *Opened[T]) Write() error {
	var err error
	if o.journal.Empty(o.Content) {
		err = o.remove()
	} else {
		err = o.replace()
	}
	if err != nil {
		return o.journal.unwritable(err)
	}
	return nil
}

func (o *Opened[T]) remove() error {
	if err := os.Remove(o.journal.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return plain(err)
	}
	return plain(syncDirectory(filepath.Dir(o.journal.Path)))
}

func (o *Opened[T]) replace() error {
	b, err := json.MarshalIndent(o.Content, "", "  ")
	if err != nil {
		return err
	}
	return writeBy(o.journal.Path, o.journal.draft(), Options{Perm: o.journal.Perm, Sync: true}, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}

// Close gives up the lock, and removes the default directory if it is empty.
func (o *Opened[T]) Close() {
	if o.journal.Path == o.journal.Default {
		_ = os.Remove(filepath.Dir(o.journal.Path)) // it may hold other things of connprof's
	}
	_ = o.lock.Close()
}
