package kernel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"
)

// Symbols finds the kernel function that an address lies in.
type Symbols struct {
	addresses []uint64
	names     []string
	lines     int
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
	case len(s.addresses) == 0:
		return nil, errors.New("kallsyms shows no function addresses: kernel.kptr_restrict hides them; " +
			"set it to 0 or 1 and run as root with CAP_SYSLOG")
	}
	sort.Sort(byAddress{s})
	return s, nil
}

// add takes one line, "address type name [module]".
func (s *Symbols) add(line []byte) {
	fields := bytes.Fields(line)
	if len(fields) < 3 || len(fields[1]) != 1 || !strings.ContainsRune("tTwW", rune(fields[1][0])) {
		return
	}
	address, err := strconv.ParseUint(string(fields[0]), 16, 64)
	if err != nil || address == 0 {
		return
	}
	s.addresses = append(s.addresses, address)
	s.names = append(s.names, string(fields[2]))
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
	i := sort.Search(len(s.addresses), func(i int) bool { return s.addresses[i] > address }) - 1
	if i < 0 {
		return fmt.Sprintf("0x%x", address)
	}
	return BaseName(s.names[i])
}

// Range is where the code of the first of some functions that the kernel has lies: from its first byte to behind its last;
// 0, 0 if it has none of them.
func (s *Symbols) Range(functions ...string) (low, high uint64) {
	for _, f := range functions {
		for i, name := range s.names {
			if BaseName(name) == f && i+1 < len(s.addresses) {
				return s.addresses[i], s.addresses[i+1]
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

type byAddress struct{ *Symbols }

func (b byAddress) Len() int           { return len(b.addresses) }
func (b byAddress) Less(i, j int) bool { return b.addresses[i] < b.addresses[j] }
func (b byAddress) Swap(i, j int) {
	b.addresses[i], b.addresses[j] = b.addresses[j], b.addresses[i]
	b.names[i], b.names[j] = b.names[j], b.names[i]
}
