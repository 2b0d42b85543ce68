package netcfg

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultJournal is where Up notes what it adds. /var/lib outlives a restart, as a note must that is to be recognised as
// outdated; the directory is made when it is needed and removed when it is empty.
const DefaultJournal = "/var/lib/connprof/aliases.json"

const (
	journalSchema = "connprof.aliases/1"
	journalNote   = "alias addresses that connprof netup added; connprof netdown removes them and this file"
	journalLimit  = 16 << 20 // bytes; nothing that Up writes comes near
)

// journal is the file. It names every address before the first of them is added, so that no crash leaves one unnamed.
type journal struct {
	Schema  string  `json:"schema"`
	Note    string  `json:"note"`
	Entries []entry `json:"entries"`
}

// entry is one Up. An interface's addresses end with its network namespace, which a restart ends at the latest; its
// index stays the same when it is renamed. Name and MAC are for those who read the file.
type entry struct {
	Boot      string    `json:"boot"`
	Namespace uint64    `json:"network_namespace"`
	Device    string    `json:"device"`
	Index     int       `json:"index"`
	MAC       string    `json:"mac"`
	Added     time.Time `json:"added"`
	Aliases   []Alias   `json:"aliases"`
}

// place is where this process is: which boot of the host, and which network namespace.
type place struct {
	boot      string
	namespace uint64
}

func here() (place, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return place{}, fmt.Errorf("tell this boot from others: %w (is /proc mounted?)", err)
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return place{}, fmt.Errorf("stat /proc/thread-self/ns/net: %w (is /proc mounted?)", err)
	}
	return place{strings.TrimSpace(string(boot)), st.Ino}, nil
}

// readJournal reads and checks a journal; one that does not exist is empty.
func readJournal(path string) (journal, error) {
	empty := journal{Schema: journalSchema, Note: journalNote}
	b, err := readRegular(path)
	if errors.Is(err, os.ErrNotExist) {
		return empty, nil
	}
	if errors.Is(err, os.ErrPermission) {
		return empty, fmt.Errorf("read journal %s: %w; run as root", path, err)
	}
	if err != nil {
		return empty, fmt.Errorf("read journal %s: %w", path, err)
	}
	var j journal
	var wrongType *json.UnmarshalTypeError
	err = json.Unmarshal(b, &j)
	switch {
	case errors.As(err, &wrongType):
		err = fmt.Errorf("the %s at byte %d is out of place", wrongType.Value, wrongType.Offset)
	case err == nil && j.Schema != journalSchema:
		return empty, foreign(path, j.Schema)
	case err == nil:
		err = j.check()
	}
	if err != nil {
		return empty, fmt.Errorf("journal %s is damaged: %w; put a good copy in its place, or remove by hand what ip addr "+
			"shows with labels DEV:cpN and then the file", path, err)
	}
	j.Note = journalNote
	return j, nil
}

func foreign(path, schema string) error {
	if strings.HasPrefix(schema, strings.TrimRight(journalSchema, "0123456789")) {
		return fmt.Errorf("journal %s was written by another version of connprof (schema %s, this one has %s); "+
			"run that version's netdown first", path, Printable(schema), journalSchema)
	}
	return fmt.Errorf("%s is no journal of connprof netup (it does not have the schema %s); it was left alone: move it "+
		"away or give another file with --journal", path, journalSchema)
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
	b, err := io.ReadAll(f)
	return b, plain(err)
}

// plain is an error without the operation and the path, where the message names both.
func plain(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// check refuses what Up cannot have written.
func (j journal) check() error {
	for i, e := range j.Entries {
		if e.Boot == "" || e.Device == "" || e.Index <= 0 || len(e.Aliases) == 0 {
			return fmt.Errorf("entry %d lacks its boot, device, index or aliases", i+1)
		}
		if _, err := net.ParseMAC(e.MAC); err != nil {
			return fmt.Errorf("entry %d has the MAC %q", i+1, e.MAC)
		}
		for _, a := range e.Aliases {
			if !a.Address.IsValid() || (a.Address.Addr().Is4() && tail(a.Label) == "") {
				return fmt.Errorf("entry %d has an alias without its address or label", i+1)
			}
		}
	}
	return nil
}

// nextLabel is the first number that no label of the interface has had; labels of several Ups stay apart.
func (j journal) nextLabel(at place, index int) (next int) {
	for _, e := range j.Entries {
		if e.Boot != at.boot || e.Namespace != at.namespace || e.Index != index {
			continue
		}
		for _, a := range e.Aliases {
			var n int
			if _, err := fmt.Sscanf(tail(a.Label), "cp%d", &n); err == nil {
				next = max(next, n+1)
			}
		}
	}
	return next
}

// openedJournal is a journal that nobody else may change until it is closed.
type openedJournal struct {
	journal
	path string
	dir  *os.File // holds the lock
}

// openJournal locks and reads a journal and makes sure that it can be written.
func openJournal(path string) (*openedJournal, error) {
	o := &openedJournal{path: path}
	var err error
	if o.dir, err = lockDirectory(path); err != nil {
		return nil, err
	}
	if o.journal, err = readJournal(path); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

// lockDirectory locks the directory of a journal; the file itself is replaced with every change.
func lockDirectory(path string) (*os.File, error) {
	name := filepath.Dir(path)
	for {
		dir, err := openDirectory(path, name)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			dir.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("another connprof netup or netdown is at work (directory %s is locked); "+
					"wait until it has ended", name)
			}
			return nil, fmt.Errorf("lock directory %s: %w", name, err)
		}
		// Whoever had the lock before may have removed the directory.
		locked, errLocked := dir.Stat()
		now, errNow := os.Stat(name)
		if errLocked == nil && errNow == nil && os.SameFile(locked, now) {
			return dir, nil
		}
		dir.Close()
	}
}

func openDirectory(path, name string) (*os.File, error) {
	if path == DefaultJournal {
		if err := os.Mkdir(name, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("make directory %s for the journal: %w; run as root, or give another file with "+
				"--journal", name, plain(err))
		}
	}
	dir, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("write journal %s: there is no directory %s; make it first", path, name)
	case err != nil:
		return nil, fmt.Errorf("write journal %s: open directory %s: %w", path, name, plain(err))
	}
	if err := unix.Access(name, unix.W_OK); err != nil {
		dir.Close()
		return nil, fmt.Errorf("write journal %s: directory %s is not writable: %w; run as root, or give another file "+
			"with --journal", path, name, err)
	}
	return dir, nil
}

// close gives up the lock, and removes the default directory if it is empty.
func (o *openedJournal) close() {
	if o.path == DefaultJournal {
		_ = os.Remove(filepath.Dir(o.path)) // it may hold other things of connprof's
	}
	_ = o.dir.Close()
}

// write puts the journal on the disk, whole or not at all; without entries there is no file.
func (o *openedJournal) write() error {
	// The name is fixed: what a killed process left of it, the next one replaces.
	draft := filepath.Join(filepath.Dir(o.path), "."+filepath.Base(o.path)+".draft")
	err := os.Remove(draft)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		if len(o.Entries) == 0 {
			err = removeFile(o.path)
		} else {
			err = o.replace(draft)
		}
	}
	if err == nil {
		err = o.dir.Sync()
	}
	if err != nil {
		_ = os.Remove(draft)
		return fmt.Errorf("write journal %s: %w", o.path, err)
	}
	return nil
}

func (o *openedJournal) replace(draft string) error {
	b, err := json.MarshalIndent(o.journal, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(draft, o.path)
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// aliasesOf is the addresses of a plan with their labels.
func aliasesOf(plan []netip.Prefix, device string, next int) []Alias {
	var list []Alias
	for i, p := range plan {
		a := Alias{Address: p}
		if p.Addr().Is4() {
			a.Label = label(device, next+i)
		}
		list = append(list, a)
	}
	return list
}
