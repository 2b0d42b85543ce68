package symbolise

// stepKind is how to get from a frame to that of the caller.
type stepKind uint8

const (
	byFramePointer stepKind = iota
	byRow                   // an unwind table has a row
	byGo                    // Go's table has the size of the frame
	isBottom                // there is no caller
	isSwitch                // Go continues on another stack
	isDamaged               // the unwind table makes no sense
)

// step is how to unwind at one address.
type step struct {
	kind stepKind
	row  *row
	goes uint64 // the size of the frame, of Go code
}

// size is about how much memory it takes.
func (s *step) size() int {
	size := 64
	if s.row != nil {
		size += 128
		for _, r := range s.row.rules {
			size += 48 + len(r.expression)
		}
	}
	return size
}

// step says how to unwind at an address of the file. It is the same in all processes, and kept. An address that is not exact
// is one below a return address.
func (f *file) step(address uint64, exact bool) step {
	if known, ok := f.steps[address]; ok {
		return known
	}
	made := f.makeStep(address, exact)
	f.keep(made.size())
	f.steps[address] = made
	return made
}

func (f *file) makeStep(address uint64, exact bool) step {
	if f.tables == nil {
		f.tables = &unwinding{}
		f.tables.eh, _ = ehTable(f.im) // without it there may still be frame pointers
		f.store.shrink(f)
	}
	if made, ok := rowStep(f.tables.eh, address); ok {
		return made
	}
	if made, ok := f.goStep(address); ok {
		return made
	}
	if made, ok := rowStep(f.debugFrame(), address); ok {
		return made
	}
	if f.isStart(address) {
		return step{kind: isBottom}
	}
	code := address
	if !exact {
		code++
	}
	if made, ok := f.byCode(code); ok {
		return made
	}
	if !exact && f.exits(code) {
		return step{kind: isBottom}
	}
	return step{kind: byFramePointer}
}

// rowStep makes the step that an unwind table has, if it has one.
func rowStep(t *unwindTable, address uint64) (step, bool) {
	if t == nil {
		return step{}, false
	}
	entry, err := t.find(address)
	if err != nil {
		return step{kind: isDamaged}, true
	}
	if entry == nil {
		return step{}, false
	}
	r, ok := entry.rowAt(address)
	if !ok {
		return step{kind: isDamaged}, true
	}
	for _, rule := range r.rules {
		if rule.number == r.ra && rule.kind == undefined {
			return step{kind: isBottom}, true
		}
	}
	return step{kind: byRow, row: r}, true
}

// goStep makes the step from Go's table, if the address is in Go code.
func (f *file) goStep(address uint64) (step, bool) {
	t := f.pclntab()
	if t == nil {
		return step{}, false
	}
	function, ok := t.find(address)
	if !ok {
		return step{}, false
	}
	title := function.title()
	switch {
	case function.flag&goTopFrame != 0, goBottoms[title]:
		return step{kind: isBottom}, true
	case function.flag&goSPWrite != 0 && title != "runtime.cgocallback", goSwitches[title]:
		return step{kind: isSwitch}, true
	}
	size, ok := function.value(function.sp, address)
	if !ok || size < 0 {
		return step{}, false
	}
	return step{kind: byGo, goes: uint64(size)}, true
}

// goBottoms are the first functions of Go's stacks, goSwitches those that continue on another one. Since Go 1.17 most have a flag
// that says so.
var (
	goBottoms  = map[string]bool{"runtime.goexit": true, "runtime.mstart": true, "runtime.rt0_go": true, "runtime.mstart1": false}
	goSwitches = map[string]bool{"runtime.systemstack": true, "runtime.mcall": true, "runtime.asmcgocall": true,
		"runtime.asmcgocall.abi0": true, "runtime.morestack": true, "runtime.gogo": true}
)

// starts are the functions that a thread begins with. In assembly of some C libraries they have no entry in an unwind table.
var starts = map[string]bool{"_start": true, "_start_c": true, "__clone": true, "clone": true, "clone3": true, "__clone3": true,
	"_dlstart": true, "_dlstart_c": true, "__clone_internal": true, "_rt0_amd64_linux": true, "_rt0_arm64_linux": true}

// longestStart is how long the code is that a program begins with.
const longestStart = 64

func (f *file) isStart(address uint64) bool {
	if f.im.entry != 0 && address >= f.im.entry && address-f.im.entry < longestStart {
		return true
	}
	name, _, ok := f.symbols().find(address)
	return ok && starts[name]
}
