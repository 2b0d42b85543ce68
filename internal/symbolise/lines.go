package symbolise

import (
	"cmp"
	"debug/dwarf"
	"errors"
	"fmt"
	"slices"
)

// lines are the functions and lines of a file, from DWARF.
type lines struct {
	data  *dwarf.Data
	units []unitRange
	trees map[dwarf.Offset]*unitTree
	kept  int // rows and functions in trees
	size  int64
	slow  bool // a look took too long: there are no more
}

// unitRange is code of a compilation unit.
type unitRange struct {
	low, high uint64
	unit      *dwarf.Entry
}

// unitTree is what is kept of a unit that has been asked for.
type unitTree struct {
	functions []functionRange
	rows      []dwarf.LineEntry
	files     []*dwarf.LineFile
}

// functionRange is code of a function that was not inlined.
type functionRange struct {
	low, high uint64
	entry     *dwarf.Entry
}

// Bounds on what is kept and walked.
const (
	mostUnits   = 1 << 16
	mostRanges  = 1 << 20
	mostEntries = 1 << 20 // of one unit
	mostRows    = 1 << 19 // of all units that are kept
	mostOrigins = 8
)

var errDWARF = errors.New("its DWARF is damaged")

// guarded calls f, and makes an error of a panic. The parser of debug/dwarf is not made for files that mean harm.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDWARF, r)
		}
	}()
	return f()
}

// openLines reads DWARF, and which unit has which code.
func openLines(im *image, most int64) (*lines, error) {
	if most <= 0 {
		return nil, errTooLarge
	}
	sections, err := im.dwarfData(uint64(most))
	if err != nil {
		return nil, err
	}
	l := &lines{trees: map[dwarf.Offset]*unitTree{}}
	for _, content := range sections {
		l.size += int64(len(content))
	}
	offsets, err := unitOffsets(sections["info"], sections["abbrev"])
	if err != nil {
		return nil, err
	}
	err = guarded(func() (err error) {
		l.data, err = dwarf.New(sections["abbrev"], nil, nil, sections["info"], sections["line"], nil, sections["ranges"],
			sections["str"])
		if err != nil {
			return err
		}
		for _, name := range []string{"addr", "line_str", "str_offsets", "rnglists"} {
			if err := l.data.AddSection(".debug_"+name, sections[name]); err != nil {
				return err
			}
		}
		return l.listUnits(offsets)
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// listUnits notes which unit has which code.
func (l *lines) listUnits(offsets []dwarf.Offset) error {
	time := newBudget()
	for _, offset := range offsets {
		unit := l.walk(offset, time).next()
		if !time.left() {
			return errDWARF
		}
		if unit == nil || unit.Tag != dwarf.TagCompileUnit {
			continue
		}
		ranges, err := l.data.Ranges(unit)
		if err != nil {
			continue
		}
		for _, r := range ranges {
			if len(l.units) < mostRanges && r[0] < r[1] && r[0] != 0 {
				l.units = append(l.units, unitRange{r[0], r[1], unit})
			}
		}
	}
	slices.SortFunc(l.units, func(a, b unitRange) int { return cmp.Compare(a.low, b.low) })
	return nil
}

// weight is about how much memory it takes.
func (l *lines) weight() int64 {
	return l.size + int64(len(l.units))*24 + int64(l.kept)*128
}

// unit returns the compilation unit that has an address.
func (l *lines) unit(address uint64) *dwarf.Entry {
	i, _ := slices.BinarySearchFunc(l.units, address, func(u unitRange, address uint64) int {
		if u.low <= address {
			return -1
		}
		return 1
	})
	for ; i > 0; i-- {
		if u := &l.units[i-1]; address < u.high {
			return u.unit
		} else if u.low+1<<30 < address {
			break
		}
	}
	return nil
}

// tree reads a unit's functions and lines, once.
func (l *lines) tree(unit *dwarf.Entry, time *budget) *unitTree {
	if known := l.trees[unit.Offset]; known != nil {
		return known
	}
	t := &unitTree{}
	l.readFunctions(unit, t, time)
	l.readRows(unit, t, time)
	if l.kept += len(t.rows) + len(t.functions); l.kept > mostRows {
		clear(l.trees)
		l.kept = len(t.rows) + len(t.functions)
	}
	l.trees[unit.Offset] = t
	return t
}

// readFunctions lists a unit's functions. They may stand within namespaces.
func (l *lines) readFunctions(unit *dwarf.Entry, t *unitTree, time *budget) {
	w := l.walk(unit.Offset, time)
	if w.next() == nil || !unit.Children {
		return
	}
	depth := 1
	for entries := 0; depth > 0 && entries < mostEntries; entries++ {
		entry := w.next()
		if entry == nil {
			break
		}
		switch entry.Tag {
		case 0:
			depth--
		case dwarf.TagNamespace, dwarf.TagModule:
			if entry.Children {
				depth++
			}
		case dwarf.TagSubprogram:
			ranges, _ := l.data.Ranges(entry)
			for _, r := range ranges[:min(len(ranges), mostRows-min(mostRows, len(t.functions)))] {
				t.functions = append(t.functions, functionRange{r[0], r[1], entry})
			}
			w.skip(entry)
		default:
			w.skip(entry)
		}
	}
	slices.SortFunc(t.functions, func(a, b functionRange) int { return cmp.Compare(a.low, b.low) })
}

// readRows reads a unit's line table. Rows are sorted by address. What ends a sequence is kept, for there is no code behind it.
func (l *lines) readRows(unit *dwarf.Entry, t *unitTree, time *budget) {
	reader, err := l.data.LineReader(unit)
	if reader == nil || err != nil {
		return
	}
	var row dwarf.LineEntry
	for len(t.rows) < mostRows && time.left() && reader.Next(&row) == nil {
		t.rows = append(t.rows, row)
	}
	t.files = reader.Files()
	slices.SortStableFunc(t.rows, func(a, b dwarf.LineEntry) int {
		if a.Address == b.Address && a.EndSequence != b.EndSequence {
			if a.EndSequence {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Address, b.Address)
	})
}

// position is the file and line of an address.
func (t *unitTree) position(address uint64) (file string, line int) {
	i, _ := slices.BinarySearchFunc(t.rows, address, func(r dwarf.LineEntry, address uint64) int {
		if r.Address <= address {
			return -1
		}
		return 1
	})
	if i == 0 || t.rows[i-1].EndSequence || t.rows[i-1].File == nil {
		return "", 0
	}
	return t.rows[i-1].File.Name, t.rows[i-1].Line
}
