package symbolise

import (
	"debug/elf"
	"errors"
	"io"
)

// file is what is known of one ELF file. Tables are read when they are needed.
type file struct {
	store  *Store
	id     identity
	opened io.Closer
	im     *image
	err    error  // why it cannot be read
	root   string // of a process that has mapped it, and its path there
	path   string
	users  int // mappings of processes
	used   uint64
	closed bool

	steps map[uint64]step
	found map[uint64][]Frame
	kept  int64 // about how much memory these two take

	tables   *unwinding
	names    *symbols
	pcln     *pclntab
	build    string
	apart    *separate
	dwarf    *lines
	searched searched
}

// searched says what was looked for already, found or not.
type searched struct{ pclntab, buildID, debugFile, dwarf, debugFrame bool }

// unwinding are a file's unwind tables.
type unwinding struct{ eh, debug *unwindTable }

// mostKept bounds what is kept of a file by address: rows and names.
const mostKept = 4 << 20

// keep makes room for something that is kept by address.
func (f *file) keep(size int) {
	before := f.kept >> 16
	f.kept += int64(size)
	if f.kept > mostKept {
		clear(f.steps)
		clear(f.found)
		f.kept = int64(size)
	}
	if f.kept>>16 != before {
		f.store.shrink(f)
	}
}

func newFile(f *opened, s *Store, root, path string) *file {
	made := &file{store: s, id: f.id, opened: f, root: root, path: path, steps: map[uint64]step{}, found: map[uint64][]Frame{}}
	made.im, made.err = openImage(f, uint64(max(f.id.size, 0)))
	if made.err == nil && made.im.machine != s.machine {
		made.err = errMachine
	}
	return made
}

var errMachine = errors.New("it is for another kind of processor")

func (f *file) close() {
	f.closed = true
	if f.opened != nil {
		f.opened.Close()
	}
	if f.apart != nil {
		f.apart.opened.Close()
	}
}

// weight is about how much memory its tables take.
func (f *file) weight() int64 {
	weight := 4096 + f.kept
	if f.im != nil {
		weight += int64(len(f.im.sections)) * 128
	}
	if f.names != nil {
		weight += f.names.weight()
	}
	if f.tables != nil {
		for _, t := range []*unwindTable{f.tables.eh, f.tables.debug} {
			if t != nil {
				weight += int64(len(t.sorted)+len(t.held)) + int64(len(t.scanned))*24
			}
		}
	}
	if f.dwarf != nil {
		weight += f.dwarf.weight()
	}
	return weight
}

func (f *file) buildID() string {
	if !f.searched.buildID {
		f.searched.buildID, f.build = true, f.im.buildID()
	}
	return f.build
}

// pclntab is Go's table of functions, nil if there is none that can be read.
func (f *file) pclntab() *pclntab {
	if !f.searched.pclntab {
		f.searched.pclntab = true
		f.pcln, _ = openPclntab(f.im)
	}
	return f.pcln
}

// debugFile is the separate debug file, nil if there is none.
func (f *file) debugFile() *image {
	if !f.searched.debugFile && f.opened != nil {
		f.searched.debugFile = true
		f.apart = f.store.findDebug(f.im, f.buildID(), f.root, f.path)
	}
	if f.apart == nil {
		return nil
	}
	return f.apart.im
}

// symbols reads the names of functions: all that the file has, or else those of its separate debug file or of its compressed
// symbols, and those that other files can use.
func (f *file) symbols() *symbols {
	if f.names != nil {
		return f.names
	}
	f.names = &symbols{}
	switch {
	case f.im.hasSymtab():
		f.names.add(f.im, elf.SHT_SYMTAB, FromSymtab)
	case f.debugFile() != nil:
		f.names.add(f.debugFile(), elf.SHT_SYMTAB, FromDebug)
	default:
		// What cannot be unpacked only costs names.
		_ = guarded(func() error {
			mini, err := f.im.miniDebug()
			if err == nil {
				f.names.add(mini, elf.SHT_SYMTAB, FromDebug)
			}
			return err
		})
	}
	f.names.add(f.im, elf.SHT_DYNSYM, FromDynsym)
	f.names.sort()
	f.store.shrink(f)
	return f.names
}

// lines reads DWARF, of the file or of its separate debug file. Nil: there is none, or it is too large.
func (f *file) lines() *lines {
	if f.searched.dwarf {
		return f.dwarf
	}
	f.searched.dwarf = true
	from := f.im
	if from.section(".debug_info", ".zdebug_info") == nil {
		from = f.debugFile()
	}
	if from != nil {
		f.dwarf, _ = openLines(from, f.store.options.MaxDebugBytes)
		f.store.shrink(f)
	}
	return f.dwarf
}

// debugFrame reads .debug_frame, of the file or of its separate debug file.
func (f *file) debugFrame() *unwindTable {
	if !f.searched.debugFrame {
		f.searched.debugFrame = true
		f.tables.debug, _ = debugTable(f.im)
		if f.tables.debug == nil && f.debugFile() != nil {
			f.tables.debug, _ = debugTable(f.debugFile())
		}
		f.store.shrink(f)
	}
	return f.tables.debug
}
