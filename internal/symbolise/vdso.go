package symbolise

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// openVDSO reads the kernel's own code in user space. It is the same in every process, so it is read from this one: another
// one could have written over its copy.
func (s *Store) openVDSO() (*file, error) {
	if s.vdso != nil || s.vdsoErr != nil {
		return s.vdso, s.vdsoErr
	}
	content, err := ownVDSO()
	if err != nil {
		s.vdsoErr = err
		return nil, err
	}
	f := &file{store: s, steps: map[uint64]step{}, found: map[uint64][]Frame{}}
	f.im, f.err = openImage(bytes.NewReader(content), uint64(len(content)))
	if f.err != nil {
		s.vdsoErr = f.err
		return nil, f.err
	}
	s.vdso = f
	return f, nil
}

const longestVDSO = 1 << 20

func ownVDSO() ([]byte, error) {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	defer maps.Close()
	mappings, _, err := readMaps(maps)
	if err != nil {
		return nil, err
	}
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		return nil, err
	}
	defer memory.Close()
	for _, m := range mappings {
		if m.path == moduleVDSO && m.limit-m.start <= longestVDSO {
			content := make([]byte, m.limit-m.start)
			_, err := io.ReadFull(io.NewSectionReader(memory, int64(m.start), int64(len(content))), content)
			return content, err
		}
	}
	return nil, fmt.Errorf("this process has no %s", moduleVDSO)
}
