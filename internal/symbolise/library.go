package symbolise

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Library is the ELF files below a directory, by build ID: programs, libraries and separate debug files, of any machine. It is for
// one goroutine.
type Library struct {
	store *Store
	paths map[string][]string // by build ID
	files map[string]*file    // by path; nil where one cannot be read
}

// mostInLibrary bounds how many files are looked at.
const mostInLibrary = 100_000

// OpenLibrary looks for ELF files with a build ID below a directory. Links are not followed.
func OpenLibrary(dir string) (*Library, error) {
	l := &Library{store: NewStore(Options{DebugDirs: []string{}}), paths: map[string][]string{}, files: map[string]*file{}}
	looked := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil && path == dir:
			return err
		case err != nil || !entry.Type().IsRegular(): // what lies in a directory that may not be read is left out
			return nil
		}
		if looked++; looked > mostInLibrary {
			return fmt.Errorf("%s has more than %d files; name the directory that the symbols are in", dir, mostInLibrary)
		}
		f, err := l.open(path)
		if err != nil {
			return nil
		}
		if id := f.buildID(); id != "" {
			l.paths[id] = append(l.paths[id], path)
		}
		f.close()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Library) open(path string) (*file, error) {
	from, err := l.store.gate.open(func() (*os.File, identity, error) {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
		if err != nil {
			return nil, identity{}, err
		}
		id, err := identify(f)
		return keep(f, id, err)
	})
	if err != nil {
		return nil, err
	}
	made := newFile(from, l.store, "", path)
	if made.im == nil {
		made.close()
		return nil, made.err
	}
	return made, nil
}

// Name names the functions at an address of the file with a build ID, those that were inlined first; nil where no file has a name.
func (l *Library) Name(buildID string, address uint64) []Frame {
	for _, path := range l.paths[buildID] {
		f, known := l.files[path]
		if !known {
			f, _ = l.open(path)
			l.files[path] = f
		}
		if f == nil {
			continue
		}
		if named := f.name(address); named[len(named)-1].Function != "" {
			return named
		}
	}
	return nil
}

// Close closes the files.
func (l *Library) Close() {
	for _, f := range l.files {
		if f != nil {
			f.close()
		}
	}
}
