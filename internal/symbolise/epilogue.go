package symbolise

import (
	"debug/elf"
	"slices"

	"golang.org/x/arch/x86/x86asm"
)

// Some C libraries have neither unwind tables nor frame pointers: musl, and so all of Alpine. There the code itself says where
// the return address lies: it is read from the address on to the next return, and what it takes off the stack on the way is
// added up. A return address that is found in this way must follow a call, else it is not believed. This is for amd64.

// Bounds on how much code is read.
const (
	mostCode         = 1 << 10 // from one address
	mostInstructions = 512
	mostBranches     = 64
)

// epilogue follows the code of a function to its end. Each instruction is looked at once: however it is reached, the stack has
// the same depth.
type epilogue struct {
	im    *image
	depth depth
	seen  map[uint64]bool
	later []branch
}

// depth is where the stack pointer is, and what the code has taken off the stack.
type depth struct {
	base   uint8 // the register that the CFA is relative to
	offset int64 // of the stack pointer from there
	saved  []numberedRule
}

// branch is the other side of a condition.
type branch struct {
	at uint64
	depth
}

// byCode makes the step that the code tells, if it tells one.
func (f *file) byCode(address uint64) (made step, ok bool) {
	if f.im.machine != elf.EM_X86_64 {
		return step{}, false
	}
	_ = guarded(func() error {
		e := &epilogue{im: f.im, depth: depth{base: amd64.sp}, seen: map[uint64]bool{}}
		if !e.follow(address) {
			return nil
		}
		r := &row{cfa: rule{kind: inRegister, register: e.depth.base, offset: e.depth.offset + 8}, ra: amd64.pc, guessed: true}
		for _, saved := range e.depth.saved {
			saved.offset -= r.cfa.offset
			r.rules = append(r.rules, saved)
		}
		r.rules = append(r.rules, numberedRule{amd64.pc, rule{kind: atOffset, offset: -8}})
		made, ok = step{kind: byRow, row: r}, true
		return nil
	})
	return made, ok
}

// follow goes on until a return. Where that fails it tries the other side of the last condition.
func (e *epilogue) follow(address uint64) bool {
	e.later = []branch{{address, e.depth}}
	for len(e.later) > 0 {
		last := e.later[len(e.later)-1]
		e.later = e.later[:len(e.later)-1]
		e.depth = last.depth
		for next := last.at; next != 0; {
			at, left, ok := e.im.offset(next)
			if !ok {
				break
			}
			var ended bool
			if next, ended = e.block(e.im.prefix(at, min(left, mostCode)), next); ended {
				return true
			}
		}
	}
	return false
}

// block follows code up to a jump, whose target it returns, or to its end. ended says that this was a return.
func (e *epilogue) block(code []byte, address uint64) (next uint64, ended bool) {
	for called := false; !e.seen[address] && len(e.seen) < mostInstructions; {
		e.seen[address] = true
		in, err := x86asm.Decode(code, 64)
		if err != nil {
			return 0, false
		}
		code, address = code[in.Len:], address+uint64(in.Len)
		target := uint64(0)
		if relative, ok := in.Args[0].(x86asm.Rel); ok {
			target = address + uint64(int64(relative))
		}
		switch in.Op {
		case x86asm.RET:
			return 0, in.Args[0] == nil && e.depth.offset >= 0
		case x86asm.JMP: // one that goes who knows where calls another function at its end
			return target, target == 0 && e.depth.offset >= 0
		case x86asm.UD2, x86asm.INT, x86asm.HLT:
			return 0, false
		case x86asm.NOP:
			if called { // padding: what was called does not return
				return 0, false
			}
		case x86asm.CALL:
		default:
			if !e.depth.change(&in) {
				return 0, false
			}
			if target != 0 && len(e.later) < mostBranches {
				same := e.depth
				same.saved = slices.Clone(same.saved)
				e.later = append(e.later, branch{target, same})
			}
		}
		called = in.Op == x86asm.CALL
	}
	return 0, false
}

// change is what an instruction does to the stack pointer. It says whether that is known.
func (d *depth) change(in *x86asm.Inst) bool {
	switch in.Op {
	case x86asm.PUSH, x86asm.PUSHFQ:
		d.offset -= 8
		return true
	case x86asm.POP:
		register, ok := in.Args[0].(x86asm.Reg)
		if !ok || register == x86asm.RSP {
			return false
		}
		d.pop(register)
		return true
	case x86asm.LEAVE:
		d.base, d.offset = amd64.fp, 0
		d.pop(x86asm.RBP)
		return true
	case x86asm.CMP, x86asm.TEST:
		return true
	}
	if in.Args[0] != x86asm.RSP {
		return true
	}
	return d.move(in)
}

// pop takes a register off the stack. What is popped first is what the caller had only if it was pushed last. So the last
// one counts.
func (d *depth) pop(register x86asm.Reg) {
	if number, ok := dwarfNumbers[register]; ok {
		kept := d.saved[:0]
		for _, saved := range d.saved {
			if saved.number != number {
				kept = append(kept, saved)
			}
		}
		d.saved = append(kept, numberedRule{number, rule{kind: atOffset, offset: d.offset}})
	}
	d.offset += 8
}

// dwarfNumbers are those of the registers that functions save.
var dwarfNumbers = map[x86asm.Reg]uint8{x86asm.RBX: 3, x86asm.RBP: 6, x86asm.R12: 12, x86asm.R13: 13, x86asm.R14: 14, x86asm.R15: 15}

// move is an instruction that changes the stack pointer by a number, or takes it from the frame pointer.
func (d *depth) move(in *x86asm.Inst) bool {
	number, isNumber := in.Args[1].(x86asm.Imm)
	switch {
	case in.Op == x86asm.ADD && isNumber:
		d.offset += int64(number)
	case in.Op == x86asm.SUB && isNumber:
		d.offset -= int64(number)
	case in.Op == x86asm.MOV && in.Args[1] == x86asm.RBP:
		d.base, d.offset = amd64.fp, 0
	case in.Op == x86asm.LEA:
		from, ok := in.Args[1].(x86asm.Mem)
		if !ok || from.Index != 0 {
			return false
		}
		switch from.Base {
		case x86asm.RSP:
			d.offset += from.Disp
		case x86asm.RBP:
			d.base, d.offset = amd64.fp, from.Disp
		default:
			return false
		}
	default:
		return false
	}
	return true
}

// exits tells whether the code at a return address is exit(f()): what was returned becomes the argument of a call. In code that
// never returns this is what a C library begins a program with. musl has no name for it that stays in a stripped file.
func (f *file) exits(address uint64) bool {
	at, _, ok := f.im.offset(address)
	code := f.im.prefix(at, 3)
	return ok && f.im.machine == elf.EM_X86_64 && string(code) == "\x89\xc7\xe8" // mov %eax,%edi; call
}

// followsCall tells whether the code before an address of the file calls something, which is what a return address is like.
func (f *file) followsCall(address uint64) bool {
	const longest = 7
	at, _, ok := f.im.offset(address - longest)
	if !ok {
		return false
	}
	code := f.im.prefix(at, longest)
	if len(code) < longest {
		return false
	}
	if code[longest-5] == 0xe8 {
		return true
	}
	for size := 2; size <= longest; size++ { // FF /2
		if code[longest-size] == 0xff && code[longest-size+1]>>3&7 == 2 {
			return true
		}
	}
	return false
}
