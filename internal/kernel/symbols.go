package kernel

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strings"
)

// Symbols finds the kernel function that an address lies in.
type Symbols struct {
	functions []function // by address
	names     []byte     // of all functions, one after the other: a hundred thousand strings would cost as many allocations
	lines     int
}

// function is where one begins, and where its name lies.
type function struct {
	address uint64
	start   uint32
	length  uint16
}

// ParseSymbols reads the format of /proc/kallsyms and keeps the functions. It fails where the kernel hides the
// addresses (kernel.kptr_restrict, or no CAP_SYSLOG).
func ParseSymbols(r io.Reader) (*Symbols, error) {
	s := &Symbols{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	for lines.Scan() {
		s.lines++
		s.add(lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read kallsyms: %w", err)
	}
	switch {
	case s.lines == 0:
		return nil, errors.New("kallsyms is empty: something is mounted over it (a container's masked path), or the kernel has no " +
			"CONFIG_KALLSYMS; run outside the container")
	case len(s.functions) == 0:
		return nil, errors.New("kallsyms shows no function addresses: kernel.kptr_restrict hides them; " +
			"set it to 0 or 1 and run as root with CAP_SYSLOG")
	}
	slices.SortStableFunc(s.functions, func(a, b function) int { return cmp.Compare(a.address, b.address) })
	return s, nil
}

// add takes one line, "address type name [module]".
func (s *Symbols) add(line []byte) {
	digits, rest, _ := bytes.Cut(line, []byte{' '})
	kind, rest, found := bytes.Cut(rest, []byte{' '})
	if !found || len(kind) != 1 || bytes.IndexByte([]byte("tTwW"), kind[0]) < 0 {
		return
	}
	address, ok := parseHexadecimal(digits)
	if !ok || address == 0 {
		return
	}
	name, _, _ := bytes.Cut(rest, []byte{'\t'}) // a module's name follows
	s.functions = append(s.functions, function{address, uint32(len(s.names)), uint16(len(name))})
	s.names = append(s.names, name...)
}

// parseHexadecimal is strconv.ParseUint without the string that it needs.
func parseHexadecimal(digits []byte) (n uint64, ok bool) {
	if len(digits) == 0 || len(digits) > 16 {
		return 0, false
	}
	for _, d := range digits {
		switch {
		case '0' <= d && d <= '9':
			n = n<<4 | uint64(d-'0')
		case 'a' <= d && d <= 'f':
			n = n<<4 | uint64(d-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

func (s *Symbols) name(i int) string {
	f := s.functions[i]
	return string(s.names[f.start : f.start+uint32(f.length)])
}

// ReadSymbols reads the running kernel's /proc/kallsyms.
func ReadSymbols() (*Symbols, error) {
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ParseSymbols(f)
}

// Function names the function around address, without the suffix that the compiler gives to a clone of it
// (.isra.0, .constprop.0, .part.0, .cold, .llvm.1234). It is the address in hexadecimal where there is none.
func (s *Symbols) Function(address uint64) string {
	i := sort.Search(len(s.functions), func(i int) bool { return s.functions[i].address > address }) - 1
	if i < 0 {
		return fmt.Sprintf("0x%x", address)
	}
	return BaseName(s.name(i))
}

// Range is where the code of the first of some functions that the kernel has lies: from its first byte to behind its last;
// 0, 0 if it has none of them.
func (s *Symbols) Range(functions ...string) (low, high uint64) {
	for _, f := range functions {
		for i := range len(s.functions) - 1 {
			if BaseName(s.name(i)) == f {
				return s.functions[i].address, s.functions[i+1].address
			}
		}
	}
	return 0, 0
}

// BaseName is a function's name without the compiler's suffixes.
func BaseName(name string) string {
	if i := strings.IndexByte(name, '.'); i > 0 {
		return name[:i]
	}
	return name
}
