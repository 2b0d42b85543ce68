// Package symbolise unwinds copies of user stacks outside the kernel, and names the addresses.
//
// A copy is a thread's registers and some of its stack (Sample). Process.Unwind makes a Path of it: the return addresses and
// where each lies. Process.Frames names addresses. What it needs it reads from /proc/PID and from the files that the process
// has mapped, as the process sees them. Who owns a container chooses what is in them. So all reading is bounded, nothing
// outside of the process's own root is followed, and only regular files are opened.
//
// It may import nothing of the project. A Store and its processes are for one goroutine.
package symbolise

import (
	"fmt"
	"strconv"
)

// Registers are a thread's user registers when it entered the kernel, by their DWARF numbers. amd64: 0 to 15 as in the System V
// ABI (rax rdx rcx rbx rsi rdi rbp rsp r8 to r15), 16 the instruction pointer. arm64: 0 to 30 x0 to x30, 31 sp, 32 pc.
type Registers [33]uint64

// Sample is one copied stack.
type Sample struct {
	Registers Registers
	Memory    []byte // from the stack pointer up
}

// Slot is a return address on the stack: Value lies Offset bytes above the stack pointer of the sample.
type Slot struct {
	Offset uint32
	Value  uint64
}

// Path is an unwound stack, leaf first. Addresses[0] is the instruction pointer, the others are return addresses. A return
// address that was in a register has no slot.
type Path struct {
	Addresses []uint64
	Slots     []Slot
	End       End
}

// MaxFrames is the most that Unwind gives.
const MaxFrames = 127

// End says how unwinding ended.
type End uint8

const (
	// Bottom is the first function of the thread.
	Bottom End = iota + 1
	// Switched is where the Go runtime changes stacks. The rest is on a stack that was not copied.
	Switched
	// PastCopy is a stack that is longer than its copy.
	PastCopy
	// NoInformation is code in a file without an entry in its unwind tables, whose frame pointer leads nowhere.
	NoInformation
	// NotInFile is code in no file, or in one that could not be read, whose frame pointer leads nowhere.
	NotInFile
	// NotMapped is an instruction pointer or a return address outside of all code.
	NotMapped
	// BadInformation is an unwind table that is damaged, or that says what cannot be.
	BadInformation
	// NoProgress is a frame that does not lie above the one before.
	NoProgress
	// TooDeep is a stack of more than MaxFrames frames.
	TooDeep
	// ProcessGone is a process that ended before its mappings were read. Unwind never says it: it is for who keeps a path for a
	// process that Store.Process does not find any more.
	ProcessGone
)

var ends = [...]string{
	0:              "not unwound",
	Bottom:         "whole",
	Switched:       "the Go runtime changes stacks here",
	PastCopy:       "the stack is longer than its copy",
	NoInformation:  "no unwind table and no frame pointer",
	NotInFile:      "code in no readable file, without a frame pointer",
	NotMapped:      "the return address is in no code",
	BadInformation: "the unwind table is damaged",
	NoProgress:     "the frame does not lie above the one before",
	TooDeep:        "more than 127 frames",
	ProcessGone:    "the process had ended, or become another program, before its mappings were read",
}

// String is a short reason in plain words.
func (e End) String() string {
	if int(e) < len(ends) {
		return ends[e]
	}
	return "end " + strconv.Itoa(int(e))
}

// Whole tells whether nothing is missing between the leaf and the first function of the thread, or of its stack.
func (e End) Whole() bool { return e == Bottom || e == Switched }

// Frame is one function of a stack.
type Frame struct {
	// Function is empty where it is not known. C++ and Rust names are demangled.
	Function string
	// File and Line are of the source, as far as they are known.
	File string
	Line int
	// Module is the base name of the mapped file, "[vdso]", or "[jit]". ModulePath is its path as the process sees it.
	Module, ModulePath string
	// BuildID is that of the file in hexadecimal digits: GNU's, or else Go's as it is.
	BuildID string
	// Address is the one that was looked up, as the file has it (p_vaddr), or in the process where it is in no file.
	Address uint64
	// Mapping is where the file is mapped, and from which offset on.
	MappingStart, MappingLimit, MappingOffset uint64
	// Inlined says that the next frame is the function that this one was inlined into.
	Inlined bool
	// Source is where the name is from.
	Source string
	// Why says why there is no name, if the file could not be read.
	Why string
}

// Where the names of functions come from.
const (
	FromSymtab   = "symtab"
	FromDynsym   = "dynsym"
	FromDebug    = "debug"
	FromPclntab  = "gopclntab"
	FromPerfMap  = "perf-map"
	FromNothing  = "none"
	moduleJIT    = "[jit]"
	moduleVDSO   = "[vdso]"
	moduleNoCode = "[unknown]"
)

// String is "function file:line", "function (module)", or "module+0x1234".
func (f Frame) String() string {
	switch {
	case f.Function == "":
		return fmt.Sprintf("%s+%#x", f.Module, f.Address)
	case f.File == "":
		return fmt.Sprintf("%s (%s)", f.Function, f.Module)
	}
	return fmt.Sprintf("%s %s:%d", f.Function, f.File, f.Line)
}
