package symbolise

import (
	"debug/dwarf"
	"slices"
)

// frames returns the functions at an address, the innermost first. None: DWARF does not know the address.
func (l *lines) frames(address uint64) []Frame {
	if l.slow {
		return nil
	}
	var frames []Frame
	time := newBudget()
	_ = guarded(func() error {
		if unit := l.unit(address); unit != nil {
			frames = l.framesIn(l.tree(unit, time), address, time)
		}
		return nil
	})
	l.slow = !time.left()
	return frames
}

func (l *lines) framesIn(t *unitTree, address uint64, time *budget) []Frame {
	file, line := t.position(address)
	i, _ := slices.BinarySearchFunc(t.functions, address, func(f functionRange, address uint64) int {
		if f.low <= address {
			return -1
		}
		return 1
	})
	if i == 0 || address >= t.functions[i-1].high {
		if file == "" {
			return nil
		}
		return []Frame{{File: file, Line: line, Source: FromNothing}}
	}
	function := t.functions[i-1].entry
	chain := append([]*dwarf.Entry{function}, l.inlined(function, address, time)...)
	frames := make([]Frame, 0, len(chain))
	for at := len(chain) - 1; at >= 0; at-- {
		frames = append(frames, Frame{Function: l.name(chain[at]), File: file, Line: line, Inlined: at > 0, Source: FromDebug})
		// The line of the next is that of the call.
		file, line = l.call(t, chain[at])
	}
	return frames
}

// inlined returns the calls that were inlined around an address, the outermost first.
func (l *lines) inlined(function *dwarf.Entry, address uint64, time *budget) []*dwarf.Entry {
	if !function.Children {
		return nil
	}
	w := l.walk(function.Offset, time)
	if w.next() == nil {
		return nil
	}
	var calls []*dwarf.Entry
	for range mostEntries {
		entry := w.next()
		if entry == nil || entry.Tag == 0 {
			break
		}
		block := entry.Tag == dwarf.TagInlinedSubroutine || entry.Tag == dwarf.TagLexDwarfBlock
		if !block || !l.contains(entry, address) {
			w.skip(entry)
			continue
		}
		if entry.Tag == dwarf.TagInlinedSubroutine {
			calls = append(calls, entry)
		}
		if !entry.Children || len(calls) == mostInlined {
			break
		}
	}
	return calls
}

func (l *lines) contains(entry *dwarf.Entry, address uint64) bool {
	ranges, err := l.data.Ranges(entry)
	if err != nil {
		return false
	}
	// A block without ranges of its own has those of what is around it.
	if len(ranges) == 0 && entry.Tag == dwarf.TagLexDwarfBlock {
		return true
	}
	return slices.ContainsFunc(ranges, func(r [2]uint64) bool { return address >= r[0] && address < r[1] })
}

// call is where an inlined function was called.
func (l *lines) call(t *unitTree, entry *dwarf.Entry) (file string, line int) {
	if number, ok := entry.Val(dwarf.AttrCallFile).(int64); ok && number >= 0 && number < int64(len(t.files)) {
		if known := t.files[number]; known != nil {
			file = known.Name
		}
	}
	if number, ok := entry.Val(dwarf.AttrCallLine).(int64); ok {
		line = int(number)
	}
	return file, line
}

// name is a function's name. An inlined or separate one has it where it was declared.
func (l *lines) name(entry *dwarf.Entry) string {
	found := ""
	for range mostOrigins {
		if linkage, ok := entry.Val(dwarf.AttrLinkageName).(string); ok && isMangled(linkage) {
			return plain(linkage)
		}
		if own, ok := entry.Val(dwarf.AttrName).(string); ok && found == "" {
			found = own
		}
		at, ok := entry.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset)
		if !ok {
			if at, ok = entry.Val(dwarf.AttrSpecification).(dwarf.Offset); !ok {
				break
			}
		}
		reader := l.data.Reader()
		reader.Seek(at)
		next, err := reader.Next()
		if err != nil || next == nil {
			break
		}
		entry = next
	}
	return found
}
