package symbolise

import (
	"debug/elf"
	"io"
	"os"
)

// file is what is known of one ELF file. Tables are read when they are needed.
type file struct {
	store  *Store
	id     identity
	opened io.Closer
	im     *image
	err    error // why it cannot be read
	users  int   // mappings of processes
	used   uint64
	closed bool

	tables  *unwinding
	steps   map[uint64]step
	names   *symbols
	found   map[uint64][]Frame
	pcln    *pclntab
	pclnErr error
	sought  bool // the table of Go
	build   string
	built   bool
}

// unwinding are a file's unwind tables.
type unwinding struct {
	eh, debug     *unwindTable
	ehErr         error
	debugErr      error
	debugSearched bool
}

// mostCached bounds what is kept of a file by address: rows and names.
const mostCached = 1 << 14

func newFile(opened *os.File, id identity, s *Store, _ *Process) *file {
	f := &file{store: s, id: id, opened: opened, steps: map[uint64]step{}, found: map[uint64][]Frame{}}
	f.im, f.err = openImage(opened, uint64(max(id.size, 0)))
	if f.err == nil && f.im.machine != s.machine {
		f.err = errNoELF
	}
	return f
}

func (f *file) close() {
	f.closed = true
	if f.opened != nil {
		f.opened.Close()
	}
}

// weight is about how much memory its tables take.
func (f *file) weight() int64 {
	weight := int64(4096) + int64(len(f.steps))*256 + int64(len(f.found))*512
	if f.names != nil {
		weight += int64(len(f.names.list)) * symbolSize
	}
	if f.tables != nil {
		for _, t := range []*unwindTable{f.tables.eh, f.tables.debug} {
			if t != nil {
				weight += int64(len(t.sorted)+len(t.held)) + int64(len(t.scanned))*24
			}
		}
	}
	return weight
}

func (f *file) buildID() string {
	if !f.built {
		f.built, f.build = true, f.im.buildID()
	}
	return f.build
}

// pclntab is Go's table of functions, nil if there is none that can be read.
func (f *file) pclntab() *pclntab {
	if !f.sought {
		f.sought = true
		f.pcln, f.pclnErr = openPclntab(f.im)
	}
	return f.pcln
}

// symbols reads the names of functions.
func (f *file) symbols() *symbols {
	if f.names == nil {
		f.names = &symbols{}
		f.names.add(f.im, elf.SHT_SYMTAB, FromSymtab)
		f.names.add(f.im, elf.SHT_DYNSYM, FromDynsym)
		f.names.sort()
		f.store.shrink(f)
	}
	return f.names
}
