package symbolise

import (
	"bytes"
	"debug/elf"
	"slices"
	"strings"

	"github.com/ianlancetaylor/demangle"
)

// symbol is a function in a symbol table. Its name is read when somebody asks for it.
type symbol struct {
	address uint64
	size    uint32
	name    uint32 // in the table's strings
	table   uint8
	rank    uint8 // of several at one address the highest is taken
}

// symbolTable is where symbols are from.
type symbolTable struct {
	im      *image
	strings section
	source  string
}

// symbols are all functions of a file that have a name, in ascending order.
type symbols struct {
	tables []symbolTable
	list   []symbol
}

// mostSymbols bounds what is kept: 48 MiB. node has 180,000.
const mostSymbols = 2 << 20

const symbolSize = 24

// add reads a section of symbols, piece by piece.
func (s *symbols) add(im *image, kind elf.SectionType, source string) {
	for i := range im.sections {
		table := &im.sections[i]
		if table.kind != kind || table.size == 0 || int(table.link) >= len(im.sections) || len(s.tables) > 16 {
			continue
		}
		s.tables = append(s.tables, symbolTable{im: im, strings: im.sections[table.link], source: source})
		const chunk = symbolSize << 10
		for at := uint64(0); at < table.size && len(s.list) < mostSymbols; at += chunk {
			s.take(im, im.prefix(table.offset+at, min(chunk, table.size-at)))
		}
	}
}

// take keeps the functions of some symbols.
func (s *symbols) take(im *image, raw []byte) {
	c := &cursor{data: raw}
	for c.more() && len(s.list) < mostSymbols {
		name, info := c.u32(), c.u8()
		c.u8()
		section := c.u16()
		address, size := c.u64(), c.u64()
		kind := elf.ST_TYPE(info)
		code := kind == elf.STT_FUNC || kind == elf.STT_GNU_IFUNC || kind == elf.STT_NOTYPE && im.isCode(section)
		if c.bad || !code || section == uint16(elf.SHN_UNDEF) || address == 0 || name == 0 {
			continue
		}
		s.list = append(s.list, symbol{address, uint32(min(size, 1<<32-1)), name, uint8(len(s.tables) - 1), rank(info, size)})
	}
}

func (im *image) isCode(section uint16) bool {
	return int(section) < len(im.sections) && im.sections[section].flags&elf.SHF_EXECINSTR != 0
}

// rank prefers functions with a size, and names that other files can use.
func rank(info uint8, size uint64) uint8 {
	var r uint8
	if size > 0 {
		r += 8
	}
	if elf.ST_TYPE(info) != elf.STT_NOTYPE {
		r += 4
	}
	switch elf.ST_BIND(info) {
	case elf.STB_GLOBAL:
		r += 2
	case elf.STB_WEAK:
		r++
	}
	return r
}

// weight is about how much memory it takes.
func (s *symbols) weight() int64 {
	weight := int64(len(s.list)) * symbolSize
	for i := range s.tables {
		if held, ok := s.tables[i].im.from.(*bytes.Reader); ok {
			weight += held.Size()
		}
	}
	return weight
}

func (s *symbols) sort() {
	slices.SortStableFunc(s.list, func(a, b symbol) int {
		switch {
		case a.address != b.address && a.address < b.address, a.address == b.address && a.rank > b.rank:
			return -1
		case a.address == b.address && a.rank == b.rank:
			return 0
		}
		return 1
	})
}

// mostBack is how many symbols before an address are looked at for one that contains it.
const mostBack = 64

// find returns the function at an address.
func (s *symbols) find(address uint64) (name, source string, ok bool) {
	at, _ := slices.BinarySearchFunc(s.list, address, func(one symbol, address uint64) int {
		if one.address <= address {
			return -1
		}
		return 1
	})
	for i := at - 1; i >= 0 && i >= at-mostBack; i-- {
		one := &s.list[i]
		if address-one.address < uint64(one.size) || one.size == 0 && i == at-1 {
			return s.best(i, address)
		}
	}
	return "", "", false
}

// best takes of the functions that begin where symbol i does the one with the fewest underscores before its name: connect, and
// not __connect. Those without a size or a type come last.
func (s *symbols) best(i int, address uint64) (name, source string, ok bool) {
	first := i
	for first > 0 && s.list[first-1].address == s.list[i].address && i-first < mostBack {
		first--
	}
	kind := uint8(0)
	for ; first <= i; first++ {
		one := &s.list[first]
		if one.size != 0 && address-one.address >= uint64(one.size) || name != "" && one.rank>>2 < kind {
			continue
		}
		other := s.name(one)
		if other != "" && (name == "" || underscores(other) < underscores(name)) {
			name, source, kind = other, s.tables[one.table].source, one.rank>>2
		}
	}
	return name, source, name != ""
}

func underscores(name string) int { return len(name) - len(strings.TrimLeft(name, "_")) }

func (s *symbols) name(one *symbol) string {
	table := &s.tables[one.table]
	if uint64(one.name) >= table.strings.size {
		return ""
	}
	name := table.im.cString(table.strings.offset + uint64(one.name))
	name, _, _ = strings.Cut(name, "@") // the version
	return name
}

// Bounds on names that are demangled: what goes in, and as a power of two what comes out.
const (
	longestMangled   = 2048
	longestDemangled = 11
)

func isMangled(name string) bool {
	return strings.HasPrefix(name, "_Z") || strings.HasPrefix(name, "_R")
}

// plain is a name as its source has it. Parameters and the suffixes of clones are left out. A name may come from anybody.
func plain(name string) (out string) {
	if len(name) > longestMangled || !isMangled(name) {
		return name
	}
	defer func() {
		if recover() != nil {
			out = name
		}
	}()
	return demangle.Filter(name, demangle.NoParams, demangle.NoEnclosingParams, demangle.MaxLength(longestDemangled))
}
