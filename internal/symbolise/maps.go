package symbolise

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds on what is kept of /proc/PID/maps. A kernel allows 65,530 mappings if nobody told it otherwise.
const (
	mostMappings = 1 << 14
	mostPaths    = 4 << 20
	longestLine  = 1 << 13
	mostLines    = 1 << 20
)

// mapping is code in a process: an executable line of /proc/PID/maps.
type mapping struct {
	start, limit, offset uint64
	device, inode        uint64
	path                 string

	tried bool
	file  *file // nil: there is none, or why says why it cannot be read
	why   error
}

func (m *mapping) key() [5]uint64 { return [5]uint64{m.start, m.limit, m.offset, m.device, m.inode} }

// copy is for a call that may come back late.
func (m *mapping) copy() *mapping {
	same := *m
	return &same
}

// deleted is what the kernel puts after the path of a file that has no name any more.
const deleted = " (deleted)"

// name is the path without the kernel's additions.
func (m *mapping) name() string {
	return strings.ReplaceAll(strings.TrimSuffix(m.path, deleted), `\012`, "\n")
}

// isFile tells whether a file is mapped. Memory that has a name, such as memfd's or a SysV segment, is code made at run time.
func (m *mapping) isFile() bool {
	return strings.HasPrefix(m.path, "/") && m.inode != 0 && !strings.HasPrefix(m.path, "/memfd:") &&
		!strings.HasPrefix(m.path, "/SYSV") && !strings.HasPrefix(m.path, "/dev/zero") && !strings.HasPrefix(m.path, "/anon_hugepage")
}

// readMaps returns the executable mappings in ascending order, and a sum that changes when they do.
func readMaps(from io.Reader) ([]*mapping, uint64, error) {
	var found []*mapping
	paths := 0 // bytes
	sum := fnv.New64a()
	lines := bufio.NewReaderSize(from, longestLine)
	for range mostLines {
		line, err := lines.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		if m, ok := parseMapping(line); ok && !long {
			_, _ = sum.Write(line)
			found = append(found, m)
			paths += len(m.path)
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) || len(found) == mostMappings || paths > mostPaths {
			break
		}
		if err != nil {
			return nil, 0, err
		}
	}
	slices.SortFunc(found, func(a, b *mapping) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
	return found, sum.Sum64(), nil
}

// parseMapping takes "start-limit rwxp offset major:minor inode path".
func parseMapping(line []byte) (*mapping, bool) {
	fields := bytes.SplitN(bytes.TrimSuffix(line, []byte("\n")), []byte(" "), 6)
	if len(fields) < 5 || len(fields[1]) < 3 || fields[1][2] != 'x' {
		return nil, false
	}
	m := &mapping{}
	start, limit, _ := strings.Cut(string(fields[0]), "-")
	major, minor, _ := strings.Cut(string(fields[3]), ":")
	var majorNumber, minorNumber uint64
	for _, number := range []struct {
		text string
		base int
		to   *uint64
	}{{start, 16, &m.start}, {limit, 16, &m.limit}, {string(fields[2]), 16, &m.offset}, {major, 16, &majorNumber},
		{minor, 16, &minorNumber}, {string(fields[4]), 10, &m.inode}} {
		parsed, err := strconv.ParseUint(number.text, number.base, 64)
		if err != nil {
			return nil, false
		}
		*number.to = parsed
	}
	if m.limit <= m.start || majorNumber > 1<<32-1 || minorNumber > 1<<32-1 {
		return nil, false
	}
	m.device = unix.Mkdev(uint32(majorNumber), uint32(minorNumber))
	if len(fields) == 6 {
		m.path = string(bytes.TrimLeft(fields[5], " "))
	}
	return m, true
}

// find returns the mapping that has an address.
func find(maps []*mapping, address uint64) *mapping {
	at, exact := slices.BinarySearchFunc(maps, address, func(m *mapping, address uint64) int {
		switch {
		case m.start < address:
			return -1
		case m.start > address:
			return 1
		}
		return 0
	})
	if !exact {
		at--
	}
	if at < 0 || address >= maps[at].limit {
		return nil
	}
	return maps[at]
}

var errGone = errors.New("the process has ended")

func goneError(pid int) error { return fmt.Errorf("read the mappings of process %d: %w", pid, errGone) }
