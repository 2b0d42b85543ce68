package symbolise

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// Bounds on the map of names that a program writes for perf. That of a Node server has 5 MB.
const (
	mostPerfBytes = 64 << 20
	mostPerfNames = 1 << 19
	longestName   = 512
)

// rereadAfter is how soon a map is read again that does not have an address.
const rereadAfter = time.Second

// perfMap is /tmp/perf-PID.map of a process: the names of code that was made at run time.
type perfMap struct {
	list  []perfName
	at    int64 // how far it was read
	names int   // bytes in names
	id    identity
	read  time.Time
	err   error
}

type perfName struct {
	start, size uint64
	name        string
}

// weight is about how much memory it takes.
func (m *perfMap) weight() int {
	if m == nil {
		return 0
	}
	return 48*len(m.list) + m.names
}

// perfName is the name of code at an address.
func (p *Process) perfName(address uint64) (string, bool) {
	if p.perf == nil {
		p.perf = &perfMap{}
	}
	if name, ok := p.perf.find(address); ok {
		return name, true
	}
	if now := p.store.now(); now.Sub(p.perf.read) >= rereadAfter {
		p.perf.read = now
		p.perf.err = p.perf.reread(p.store.gate, filepath.Join(p.living(), "root"), p.inside)
		p.store.bound(p)
		return p.perf.find(address)
	}
	return "", false
}

// reread reads what was added to the map. A file that was replaced is read from its beginning.
func (m *perfMap) reread(g *gate, root string, inside int) error {
	f, err := g.open(func() (*os.File, identity, error) {
		f, err := openInRoot(root, fmt.Sprintf("/tmp/perf-%d.map", inside))
		if err != nil {
			return nil, identity{}, err
		}
		id, err := identify(f)
		return keep(f, id, err)
	})
	if err != nil {
		return err
	}
	defer f.Close()
	id := f.id
	if id.device != m.id.device || id.inode != m.id.inode || id.size < m.at {
		m.list, m.at, m.names = nil, 0, 0
	}
	if id.size <= m.at {
		return nil
	}
	m.id = id
	return m.add(io.NewSectionReader(f, m.at, mostPerfBytes-min(m.at, mostPerfBytes)))
}

// add reads lines of "start size name" in hexadecimal digits. A last line without its end is read the next time.
func (m *perfMap) add(from io.Reader) error {
	lines := bufio.NewReaderSize(from, 1<<16)
	for len(m.list) < mostPerfNames {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			break
		}
		m.at += int64(len(line))
		if one, ok := parsePerfName(line); ok {
			m.list = append(m.list, one)
			m.names += len(one.name)
		}
	}
	// Of two at one address the later is the one that is there now.
	slices.SortStableFunc(m.list, func(a, b perfName) int {
		switch {
		case a.start < b.start:
			return -1
		case a.start > b.start:
			return 1
		}
		return 0
	})
	return nil
}

func parsePerfName(line []byte) (perfName, bool) {
	fields := bytes.SplitN(bytes.TrimRight(line, "\r\n"), []byte(" "), 3)
	if len(fields) != 3 || len(fields[2]) == 0 {
		return perfName{}, false
	}
	start, err := strconv.ParseUint(string(bytes.TrimPrefix(fields[0], []byte("0x"))), 16, 64)
	if err != nil {
		return perfName{}, false
	}
	size, err := strconv.ParseUint(string(bytes.TrimPrefix(fields[1], []byte("0x"))), 16, 64)
	if err != nil || size == 0 {
		return perfName{}, false
	}
	return perfName{start, size, string(fields[2][:min(len(fields[2]), longestName)])}, true
}

func (m *perfMap) find(address uint64) (string, bool) {
	at, _ := slices.BinarySearchFunc(m.list, address, func(one perfName, address uint64) int {
		if one.start <= address {
			return -1
		}
		return 1
	})
	for i := at - 1; i >= 0 && i >= at-mostBack; i-- {
		if one := &m.list[i]; address-one.start < one.size {
			return one.name, true
		}
	}
	return "", false
}
