package symbolise

import (
	"debug/dwarf"
	"time"
)

// debug/dwarf reads what abbreviations it is told to read, however often. So the headers of the units are read here first.

// mostAbbreviations bounds how much of .debug_abbrev is read for all units together, in multiples of its size.
const mostAbbreviations = 4

// unitOffsets are where the first entries of the compilation units are. It fails where reading the units would take too long.
func unitOffsets(info, abbrev []byte) ([]dwarf.Offset, error) {
	var found []dwarf.Offset
	tables := map[uint64]bool{}
	budget := mostAbbreviations*len(abbrev) + 1<<16
	for c := (&cursor{data: info}); c.more(); {
		length, offsetSize := uint64(c.u32()), 4
		if length == 1<<32-1 {
			length, offsetSize = c.u64(), 8
		}
		begin := c.at
		if c.bad || length > uint64(len(info)-begin) || len(found) == mostUnits {
			return nil, errDWARF
		}
		unit := &cursor{data: info[begin : begin+int(length)]}
		table := unitHeader(unit, offsetSize)
		if unit.bad {
			return nil, errDWARF
		}
		if !tables[table] {
			tables[table] = true
			if budget -= abbreviationsSize(abbrev, table, budget); budget <= 0 {
				return nil, errDWARF
			}
		}
		found = append(found, dwarf.Offset(begin+unit.at))
		c.at = begin + int(length)
	}
	return found, nil
}

// unitHeader reads the header of a unit behind its length (DWARF 5, 7.5.1), and returns where its abbreviations are.
func unitHeader(c *cursor, offsetSize int) uint64 {
	offset := func() uint64 {
		if offsetSize == 8 {
			return c.u64()
		}
		return uint64(c.u32())
	}
	if c.u16() < 5 {
		table := offset()
		c.u8()
		return table
	}
	kind := c.u8()
	c.u8()
	table := offset()
	switch kind {
	case 0x02, 0x06: // of a type: its signature and where it is
		c.u64()
		offset()
	case 0x04, 0x05: // split: its identification
		c.u64()
	}
	return table
}

// abbreviationsSize is how many bytes a table of abbreviations has, as far as it is looked at.
func abbreviationsSize(abbrev []byte, at uint64, most int) int {
	if at > uint64(len(abbrev)) {
		return 0
	}
	c := &cursor{data: abbrev[at:]}
	for c.more() && c.at < most {
		if c.uleb() == 0 {
			break
		}
		c.uleb()
		c.u8()
		const implicitConst = 0x21
		for c.more() && c.at < most {
			attribute, form := c.uleb(), c.uleb()
			if form == implicitConst {
				c.sleb()
			}
			if attribute == 0 && form == 0 {
				break
			}
		}
	}
	return c.at + 1
}

// budget is the time that may be spent on a file's DWARF at once. A file can make every single step long.
type budget struct {
	until time.Time
	spent bool
}

const dwarfPatience = 5 * time.Second

func newBudget() *budget { return &budget{until: time.Now().Add(dwarfPatience)} }

// left tells whether there is time left.
func (b *budget) left() bool {
	b.spent = b.spent || time.Now().After(b.until)
	return !b.spent
}

// walker reads entries one after the other, within a budget. Skipping is not done by debug/dwarf, which goes one call deeper
// for each level.
type walker struct {
	*dwarf.Reader
	*budget
}

func (l *lines) walk(from dwarf.Offset, b *budget) *walker {
	reader := l.data.Reader()
	reader.Seek(from)
	return &walker{reader, b}
}

// next is the next entry. Nil: there is none, or no time.
func (w *walker) next() *dwarf.Entry {
	if !w.left() {
		return nil
	}
	entry, err := w.Next()
	if err != nil {
		return nil
	}
	return entry
}

// skip goes behind the children of an entry that was just read.
func (w *walker) skip(entry *dwarf.Entry) bool {
	if !entry.Children {
		return true
	}
	if sibling, ok := entry.Val(dwarf.AttrSibling).(dwarf.Offset); ok && sibling > entry.Offset {
		w.Seek(sibling)
		return true
	}
	for depth := 1; depth > 0; {
		child := w.next()
		switch {
		case child == nil:
			return false
		case child.Tag == 0:
			depth--
		case child.Children:
			depth++
		}
	}
	return true
}
