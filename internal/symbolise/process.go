package symbolise

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var errNoProcess = unix.ESRCH

// Process is the code of one process, as it was when it was first seen or when Refresh was last called.
type Process struct {
	store    *Store
	pid      int
	started  string // when, as /proc/PID/stat has it: a number is used again
	maps     []*mapping
	sum      uint64 // of the lines of maps
	read     time.Time
	perf     *perfMap
	inside   int // its number in its own pid namespace
	lastUsed uint64
	slow     bool // one of its file systems did not answer
	spent    time.Duration
}

// Process reads what code a process has, when it is first asked for it. A process that has ended since keeps what was read
// of it. Call Refresh where the number may be another process's, or the program another one.
func (s *Store) Process(pid int) (*Process, error) {
	s.uses++
	if p := s.processes[pid]; p != nil {
		p.lastUsed = s.uses
		return p, nil
	}
	p := &Process{store: s, pid: pid, inside: pid, lastUsed: s.uses}
	if err := p.Refresh(); err != nil {
		return nil, err
	}
	s.processes[pid] = p
	s.bound(p)
	return p, nil
}

func (p *Process) dir() string { return p.store.dirOf(strconv.Itoa(p.pid)) }

func (s *Store) dirOf(number string) string { return filepath.Join(s.options.Proc, number) }

// living is the directory of a thread that still has the process's memory and files: the first one can end before the others, and has
// neither from then on. /proc has each thread by its number, though it lists only the first ones.
func (p *Process) living() string {
	if hasProgram(p.dir()) {
		return p.dir()
	}
	threads, _ := os.ReadDir(filepath.Join(p.dir(), "task"))
	for _, t := range threads {
		if dir := p.store.dirOf(t.Name()); hasProgram(dir) {
			return dir
		}
	}
	return p.dir()
}

func hasProgram(dir string) bool {
	_, err := os.Readlink(filepath.Join(dir, "exe"))
	return !vanished(err)
}

// Refresh reads the mappings anew: after exec, after dlopen, and where a number may have been used again. If nothing has
// changed it keeps what it has. If the process has ended it keeps all, and the error wraps ErrGone.
func (p *Process) Refresh() error {
	p.read = p.store.now()
	started := p.startTime()
	maps, sum, err := p.readMaps()
	if err != nil {
		if vanished(err) {
			return goneError(p.pid)
		}
		return fmt.Errorf("read the mappings of process %d: %w (root may, and who may trace it)", p.pid, err)
	}
	if len(maps) == 0 { // it is about to end, or a thread of the kernel
		return goneError(p.pid)
	}
	if started == p.started && sum == p.sum && len(maps) == len(p.maps) {
		return nil
	}
	if started != p.started {
		p.perf, p.started, p.inside = nil, started, p.insideNumber()
	}
	p.adopt(maps)
	p.sum = sum
	return nil
}

// adopt takes over new mappings, and keeps the files of those that were there before.
func (p *Process) adopt(maps []*mapping) {
	kept := map[*mapping]bool{}
	for i, m := range maps {
		if old := find(p.maps, m.start); old != nil && old.key() == m.key() && old.path == m.path {
			maps[i] = old
			kept[old] = true
		}
	}
	for _, m := range p.maps {
		if !kept[m] && m.file != nil {
			m.file.users--
		}
	}
	p.maps = maps
}

// release gives back the files.
func (p *Process) release() { p.adopt(nil) }

// readMaps waits for the process's memory lock, which one that faults on a slow file system may hold.
func (p *Process) readMaps() ([]*mapping, uint64, error) {
	type result struct {
		maps []*mapping
		sum  uint64
		err  error
	}
	results := make(chan result, 1)
	name := filepath.Join(p.living(), "maps")
	if err := p.store.gate.do(func() {
		f, err := os.Open(name)
		if err != nil {
			results <- result{err: err}
			return
		}
		defer f.Close()
		maps, sum, err := readMaps(f)
		results <- result{maps, sum, err}
	}); err != nil {
		return nil, 0, err
	}
	r := <-results
	return r.maps, r.sum, r.err
}

// small reads the beginning of a small file in /proc.
func (p *Process) small(name string) []byte {
	f, err := os.Open(filepath.Join(p.dir(), name))
	if err != nil {
		return nil
	}
	defer f.Close()
	content, _ := io.ReadAll(io.LimitReader(f, 1<<16))
	return content
}

// startTime is field 22 of /proc/PID/stat. A name may have spaces and parentheses.
func (p *Process) startTime() string {
	stat := p.small("stat")
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const start = 22 - 3
	if len(fields) <= start {
		return ""
	}
	return fields[start]
}

// insideNumber is the last number of NSpid in /proc/PID/status: the one that the process itself sees.
func (p *Process) insideNumber() int {
	for line := range strings.Lines(string(p.small("status"))) {
		if numbers, is := strings.CutPrefix(line, "NSpid:"); is {
			fields := strings.Fields(numbers)
			if len(fields) > 0 {
				if number, err := strconv.Atoi(fields[len(fields)-1]); err == nil {
					return number
				}
			}
		}
	}
	return p.pid
}

// refreshAfter is how long mappings are trusted that do not have an address.
const refreshAfter = 100 * time.Millisecond

// mapping finds the code at an address. If there is none the mappings may be old.
func (p *Process) mapping(address uint64) *mapping {
	if m := find(p.maps, address); m != nil {
		return m
	}
	if p.store.now().Sub(p.read) < refreshAfter || p.Refresh() != nil {
		return nil
	}
	return find(p.maps, address)
}
