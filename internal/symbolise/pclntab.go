package symbolise

import (
	"encoding/binary"
	"errors"
	"sort"
)

// The forms of Go's table of functions, by the first word (internal/abi/symtab.go).
const (
	pclntab116 = 0xfffffffa // Go 1.16 and 1.17
	pclntab118 = 0xfffffff0 // 1.18 and 1.19
	pclntab120 = 0xfffffff1 // 1.20 and later
)

// pclntab is Go's table of functions. It stays in a stripped program, for the runtime needs it. It is read piece by piece: that
// of a large program has 40 MB.
type pclntab struct {
	im         *image
	offset     uint64 // in the file
	size       uint64
	address    uint64
	form       uint32
	quantum    uint64 // the size of the shortest instruction
	count      uint64 // of functions
	text       uint64 // what functions' addresses are relative to
	candidates int    // places that were looked at
	gofunc     uint64 // what the functions' data are relative to; 0: it is not known

	// Where its parts begin, relative to the table.
	names, units, files, values, functions uint64
}

var errPclntab = errors.New("Go's table of functions is damaged, or of a version before 1.16 that connprof does not read")

// openPclntab finds the table by its section. Nil without an error: it is no Go program.
func openPclntab(im *image) (*pclntab, error) {
	s := im.section(".gopclntab", ".data.rel.ro.gopclntab")
	if s == nil {
		return nil, nil
	}
	t := &pclntab{im: im, offset: s.offset, size: s.size, address: s.address}
	head := &cursor{data: t.prefix(0, 72)}
	t.form = head.u32()
	head.take(2)
	t.quantum = uint64(head.u8())
	pointer := head.u8()
	t.count = head.u64()
	head.u64() // files
	switch t.form {
	case pclntab118, pclntab120:
		head.u64() // where the text begins; not since Go 1.26
	case pclntab116:
	default:
		return nil, errPclntab
	}
	t.names, t.units, t.files, t.values, t.functions = head.u64(), head.u64(), head.u64(), head.u64(), head.u64()
	if head.bad || pointer != 8 || t.quantum == 0 || t.functions > t.size || t.count > (t.size-t.functions)/t.entry() {
		return nil, errPclntab
	}
	t.locate()
	return t, nil
}

// entry is the size of an entry of the list of functions.
func (t *pclntab) entry() uint64 {
	if t.form == pclntab116 {
		return 16
	}
	return 8
}

// prefix reads up to so many bytes of the table.
func (t *pclntab) prefix(at, size uint64) []byte {
	if at >= t.size {
		return nil
	}
	return t.im.prefix(t.offset+at, min(size, t.size-at))
}

func (t *pclntab) cString(at uint64) string {
	if at >= t.size {
		return ""
	}
	return t.im.cString(t.offset + at)
}

// listed is function i of the list: its first address, and where its description is.
func (t *pclntab) listed(i uint64) (address, description uint64) {
	read := t.prefix(t.functions+i*t.entry(), t.entry())
	switch {
	case uint64(len(read)) < t.entry():
		return 1<<64 - 1, 0
	case t.form == pclntab116:
		return binary.LittleEndian.Uint64(read), binary.LittleEndian.Uint64(read[8:])
	}
	return t.text + uint64(binary.LittleEndian.Uint32(read)), uint64(binary.LittleEndian.Uint32(read[4:]))
}

// goFunction is a function's description (runtime._func).
type goFunction struct {
	table                     *pclntab
	entry                     uint64
	name                      uint32
	sp, file, line            uint32 // where tables of values begin
	unit                      uint32
	flag                      uint8
	nextValues, nextFunctions uint32 // how many
	values                    uint64 // where the list of further tables begins
}

// Flags of a function (internal/abi.FuncFlag).
const (
	goTopFrame = 1
	goSPWrite  = 2
)

// find returns the function at an address.
func (t *pclntab) find(address uint64) (*goFunction, bool) {
	if t.count == 0 {
		return nil, false
	}
	i := sort.Search(int(t.count), func(i int) bool { at, _ := t.listed(uint64(i)); return at > address })
	if i == 0 {
		return nil, false
	}
	entry, description := t.listed(uint64(i - 1))
	// Behind the last function the list has the end of all.
	if end, _ := t.listed(t.count); uint64(i) == t.count && address >= end {
		return nil, false
	}
	return t.describe(entry, t.functions+description)
}

func (t *pclntab) describe(entry, at uint64) (*goFunction, bool) {
	c := &cursor{data: t.prefix(at, 64)}
	f := &goFunction{table: t, entry: entry}
	if t.form == pclntab116 {
		c.u64()
	} else {
		c.u32()
	}
	f.name = c.u32()
	c.take(8) // size of arguments, deferreturn
	f.sp, f.file, f.line, f.nextValues, f.unit = c.u32(), c.u32(), c.u32(), c.u32(), c.u32()
	if t.form == pclntab120 {
		c.u32() // the line where it begins
	}
	c.u8() // the function's number, which differs between versions
	f.flag = c.u8()
	c.u8()
	f.nextFunctions = uint32(c.u8())
	f.values = at + uint64(c.at)
	return f, !c.bad
}

// title is the function's name.
func (f *goFunction) title() string { return f.table.cString(f.table.names + uint64(f.name)) }

// longestValues bounds one table of values.
const longestValues = 1 << 18

// value reads the value for an address from one of the function's tables: pairs of changes, of the value and of the address.
func (f *goFunction) value(table uint32, address uint64) (int32, bool) {
	if table == 0 || address < f.entry {
		return 0, false
	}
	for _, size := range []uint64{256, longestValues} {
		c := &cursor{data: f.table.prefix(f.table.values+uint64(table), size)}
		if value, found := f.walk(c, address); found {
			return value, true
		}
		if !c.bad { // it ended before the address
			return 0, false
		}
	}
	return 0, false
}

func (f *goFunction) walk(c *cursor, address uint64) (int32, bool) {
	value, at := int32(-1), f.entry
	for first := true; !c.bad; first = false {
		change := c.uleb()
		if change == 0 && !first {
			return 0, false
		}
		// Zigzag: the lowest bit is the sign.
		value += int32(uint32(change)>>1) ^ -int32(change&1)
		at += c.uleb() * f.table.quantum
		if !c.bad && address < at {
			return value, true
		}
	}
	return 0, false
}

// further is the offset of one of the function's tables of values that are numbered (PCDATA).
func (f *goFunction) further(number uint32) uint32 {
	if number >= f.nextValues {
		return 0
	}
	c := &cursor{data: f.table.prefix(f.values+4*uint64(number), 4)}
	return c.u32()
}

// data is the address of one of the function's numbered data (FUNCDATA).
func (f *goFunction) data(number uint32) (uint64, bool) {
	if number >= f.nextFunctions || f.table.gofunc == 0 {
		return 0, false
	}
	c := &cursor{data: f.table.prefix(f.values+4*uint64(f.nextValues)+4*uint64(number), 4)}
	offset := c.u32()
	return f.table.gofunc + uint64(offset), !c.bad && offset != 1<<32-1
}

// position is the file and line of an address.
func (f *goFunction) position(address uint64) (file string, line int) {
	if number, ok := f.value(f.file, address); ok && number >= 0 {
		c := &cursor{data: f.table.prefix(f.table.units+4*(uint64(f.unit)+uint64(number)), 4)}
		if at := c.u32(); !c.bad && at != 1<<32-1 {
			file = f.table.cString(f.table.files + uint64(at))
		}
	}
	if number, ok := f.value(f.line, address); ok && number > 0 {
		line = int(number)
	}
	return file, line
}

// The number of the table of inlined calls, as PCDATA and as FUNCDATA, and how deep calls may be inlined.
const (
	goInlineIndex = 2
	goInlineTree  = 3
	mostInlined   = 64
)

// goCall is one of the functions at an address, inlined or not.
type goCall struct {
	name, file string
	line       int
	inlined    bool
}

// inlinedCall reads one of the calls in a tree (runtime.inlinedCall): the function's name, and where in its caller it is called.
func (t *pclntab) inlinedCall(tree, index uint64) (name, parent uint32, ok bool) {
	// Before Go 1.20: parent and number, file, line, name, position. Since then: number, name, position, line.
	size, before := uint64(16), 4
	if t.form == pclntab118 {
		size, before = 20, 12
	}
	offset, left, inFile := t.im.offset(tree + size*index)
	if !inFile || left < size {
		return 0, 0, false
	}
	c := &cursor{data: t.im.prefix(offset, size)}
	c.take(before)
	name, parent = c.u32(), c.u32()
	return name, parent, !c.bad
}

// calls returns the functions at an address, the innermost first. The last is the one that was not inlined.
func (f *goFunction) calls(address uint64) []goCall {
	var calls []goCall
	tree, ok := f.data(goInlineTree)
	for ok && f.table.form != pclntab116 && len(calls) < mostInlined {
		index, found := f.value(f.further(goInlineIndex), address)
		if !found || index < 0 {
			break
		}
		name, parent, known := f.table.inlinedCall(tree, uint64(index))
		call := goCall{name: f.table.cString(f.table.names + uint64(name)), inlined: true}
		if !known || call.name == "" {
			break
		}
		call.file, call.line = f.position(address)
		calls = append(calls, call)
		address = f.entry + uint64(parent)
	}
	outer := goCall{name: f.title()}
	outer.file, outer.line = f.position(address)
	return append(calls, outer)
}
