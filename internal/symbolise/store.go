package symbolise

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Options bound and place what a Store reads. The zero value is that of a running host.
type Options struct {
	// Proc is where the proc file system is mounted; empty for /proc.
	Proc string
	// DebugDirs are where separate debug files are, on the host and in the process's root. Nil: /usr/lib/debug.
	DebugDirs []string
	// MaxFiles is how many files are kept open; 0: 256. MaxProcesses is how many processes are known; 0: 4096.
	MaxFiles, MaxProcesses int
	// MaxBytes is about how much memory the tables of all files may take; 0: 256 MiB.
	MaxBytes int64
	// MaxDebugBytes is how large the DWARF of one file may be that lines are read from; 0: 64 MiB. Negative: none is read.
	MaxDebugBytes int64
}

func (o *Options) complete() {
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	if o.DebugDirs == nil {
		o.DebugDirs = []string{"/usr/lib/debug"}
	}
	for _, number := range []struct {
		of        *int
		otherwise int
	}{{&o.MaxFiles, 256}, {&o.MaxProcesses, 4096}} {
		if *number.of <= 0 {
			*number.of = number.otherwise
		}
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 256 << 20
	}
	if o.MaxDebugBytes == 0 {
		o.MaxDebugBytes = 64 << 20
	}
}

// Store keeps what was read of files and processes. It is for one goroutine.
type Store struct {
	options   Options
	files     map[identity]*file
	processes map[int]*Process
	machine   elf.Machine
	uses      uint64 // counts up, to know what was used last
	vdso      *file
	vdsoErr   error
	gate      *gate
	slow      map[uint64]bool // devices of file systems that did not answer
	now       func() time.Time
}

// ErrGone is a process that has ended.
var ErrGone = errGone

// NewStore makes an empty one. Close gives back the files that it opens.
func NewStore(options Options) *Store {
	options.complete()
	s := &Store{options: options, files: map[identity]*file{}, processes: map[int]*Process{}, machine: elf.EM_X86_64,
		gate: &gate{patience: patience}, slow: map[uint64]bool{}, now: time.Now}
	if runtime.GOARCH == "arm64" {
		s.machine = elf.EM_AARCH64
	}
	return s
}

// Close closes all files. The Store and its processes are of no use after it.
func (s *Store) Close() {
	for id := range s.files {
		s.drop(id)
	}
	clear(s.processes)
}

// Forget forgets a process, and closes the files that no other one has used. An open file keeps its file system from being
// unmounted: forget what has ended.
func (s *Store) Forget(pid int) {
	p := s.processes[pid]
	if p == nil {
		return
	}
	delete(s.processes, pid)
	p.release()
	for id, f := range s.files {
		if f.users == 0 {
			s.drop(id)
		}
	}
}

func (s *Store) drop(id identity) {
	f := s.files[id]
	delete(s.files, id)
	f.close()
}

// file returns what is known of the file of a mapping. Nil without an error: the mapping is of none.
func (s *Store) file(p *Process, m *mapping) (*file, error) {
	if m.file != nil && m.file.closed {
		m.file, m.tried = nil, false
	}
	if !m.tried {
		m.tried = true
		m.file, m.why = s.open(p, m)
		if m.file != nil {
			m.file.users++
		}
	}
	if m.file != nil {
		s.uses++
		m.file.used = s.uses
	}
	return m.file, m.why
}

func (s *Store) open(p *Process, m *mapping) (*file, error) {
	if m.path == moduleVDSO {
		return s.openVDSO()
	}
	if !m.isFile() {
		return nil, nil
	}
	if p.slow || s.slow[m.device] {
		return nil, fmt.Errorf("read %s: %w", m.name(), errSlow)
	}
	if p.spent > mostEffort {
		return nil, fmt.Errorf("read %s: the process's files take %s already, which is all that is given to one", m.name(), p.spent)
	}
	dir := p.living()
	opened, err := s.gate.open(func() (*os.File, identity, error) { return openMapped(dir, m.copy()) })
	if err != nil {
		if errors.Is(err, errSlow) {
			p.slow, s.slow[m.device] = true, true
		}
		return nil, err
	}
	f := s.files[opened.id]
	if f != nil {
		opened.Close()
	} else {
		f = newFile(opened, s, filepath.Join(dir, "root"), m.name())
		s.files[opened.id] = f
		s.shrink(f)
	}
	if f.err != nil {
		return nil, fmt.Errorf("read %s: %w", m.name(), f.err)
	}
	return f, nil
}

// shrink closes the files that were used the longest time ago, until the bounds hold.
func (s *Store) shrink(keep *file) {
	for {
		var total int64
		var oldest *file
		for _, f := range s.files {
			total += f.weight()
			if f != keep && (oldest == nil || f.used < oldest.used) {
				oldest = f
			}
		}
		if oldest == nil || len(s.files) <= s.options.MaxFiles && total <= s.options.MaxBytes {
			return
		}
		s.drop(oldest.id)
	}
}

// vanished tells whether an error means that a process has ended.
func vanished(err error) bool { return errors.Is(err, os.ErrNotExist) || errors.Is(err, errNoProcess) }
