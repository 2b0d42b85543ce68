package symbolise

import (
	"debug/elf"
	"encoding/binary"
)

// architecture is what differs between machines: the numbers of registers, and whether a call puts the return address into a
// register.
type architecture struct {
	sp, fp, pc uint8
	link       uint8 // the register of the return address; 0: a call pushes it
	mask       uint64
}

var (
	amd64 = architecture{sp: 7, fp: 6, pc: 16, mask: 1<<64 - 1}
	// An address of user space has up to 48 bits, on some kernels 52. Above is the signature of a return address.
	arm64 = architecture{sp: 31, fp: 29, pc: 32, link: 30, mask: 1<<52 - 1}
)

// farAway is beyond the end of any copied stack. A frame pointer that leads up to there may be right.
const farAway = 8 << 20

// unwinder goes from frame to frame.
type unwinder struct {
	*architecture
	process   *Process
	sample    *Sample
	bottom    uint64 // the stack pointer of the sample
	registers Registers
	known     uint64 // a bit for each register that has a value
	lost      uint64 // a bit for each that has none, and not because it was not copied
	exact     bool   // the address is that of an instruction, not one that a call returns to
	path      Path
}

// Unwind follows a copied stack from frame to frame. The memory of the sample is not kept.
func (p *Process) Unwind(s *Sample) Path {
	u := &unwinder{architecture: p.store.architecture(), process: p, sample: s, registers: s.Registers,
		known: 1<<registersKept - 1, exact: true}
	defer p.effort(threadTime())
	u.bottom = s.Registers[u.sp]
	u.path.Addresses = make([]uint64, 0, 32)
	u.path.Slots = make([]Slot, 0, 32)
	for u.path.End == 0 {
		u.path.Addresses = append(u.path.Addresses, u.registers[u.pc])
		slots := len(u.path.Slots)
		u.path.End = u.step()
		if u.path.End == 0 && len(u.path.Addresses) == MaxFrames {
			u.path.End, u.path.Slots = TooDeep, u.path.Slots[:slots]
		}
	}
	return u.path
}

func (s *Store) architecture() *architecture {
	if s.machine == elf.EM_AARCH64 {
		return &arm64
	}
	return &amd64
}

// step goes to the caller's frame. It returns 0, or how the path ends.
func (u *unwinder) step() End {
	address := u.registers[u.pc]
	if !u.exact {
		address--
	}
	m := u.process.mapping(address)
	if m == nil {
		return NotMapped
	}
	f, _ := u.process.store.file(u.process, m)
	if f == nil {
		return u.byFramePointer(NotInFile)
	}
	at, ok := f.im.address(address - m.start + m.offset)
	if !ok {
		return u.byFramePointer(NoInformation)
	}
	step := f.step(at, u.exact)
	switch step.kind {
	case isBottom:
		return Bottom
	case isSwitch:
		return Switched
	case isDamaged:
		return BadInformation
	case byRow:
		if step.row.guessed && !u.isLikely(step.row) {
			return u.byFramePointer(NoInformation)
		}
		return u.byRow(step.row)
	case byGo:
		return u.byGo(step.goes)
	}
	return u.byFramePointer(NoInformation)
}

// register and memory are what expressions read.
func (u *unwinder) register(number uint8) (uint64, bool) {
	if int(number) >= registersKept {
		return 0, false
	}
	return u.registers[number], u.known>>number&1 != 0
}

func (u *unwinder) memory(address uint64) (uint64, bool) {
	at := address - u.bottom
	size := uint64(len(u.sample.Memory))
	if address < u.bottom || size < 8 || at > size-8 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(u.sample.Memory[at:]), true
}

// byGo goes on from a frame of Go code, whose size is known. A call pushes the return address on amd64. On arm64 a function
// with a frame stores it at the frame's lower end.
func (u *unwinder) byGo(size uint64) End {
	sp := u.registers[u.sp]
	if u.known>>u.sp&1 == 0 {
		return u.missing(u.sp)
	}
	if size > farAway {
		return BadInformation
	}
	cfa, at := sp+size, sp
	if u.link == 0 {
		at = sp + size
		cfa = at + 8
	} else if size == 0 && u.exact {
		returnTo := u.registers[u.link]
		return u.arrive(returnTo, 0, sp, false)
	}
	returnTo, ok := u.memory(at)
	if !ok {
		return PastCopy
	}
	if u.link == 0 && size > 0 {
		if fp, ok := u.memory(cfa - 16); ok {
			u.registers[u.fp] = fp
		}
	}
	u.registers[u.sp] = cfa
	return u.arrive(returnTo, at, sp, false)
}

// byFramePointer goes on by the chain of frame pointers, else it ends as it is told.
func (u *unwinder) byFramePointer(otherwise End) End {
	fp, sp := u.registers[u.fp], u.registers[u.sp]
	switch {
	case u.known>>u.fp&1 == 0:
		return otherwise
	case fp == 0 && len(u.path.Addresses) > 1:
		return Bottom // the first frame has none (System V ABI 3.4.1, AAPCS64 6.4.6)
	case fp < sp || fp&7 != 0 || fp-sp > farAway:
		return otherwise
	}
	caller, ok := u.memory(fp)
	returnTo, ok2 := u.memory(fp + 8)
	if !ok || !ok2 {
		return PastCopy
	}
	if find(u.process.maps, (returnTo&u.mask)-1) == nil && returnTo != 0 {
		return otherwise
	}
	u.registers[u.fp], u.registers[u.sp] = caller, fp+16
	if u.link != 0 {
		// The frame's record lies anywhere within the frame. So the caller's stack pointer is not known, only that it is above.
		u.known, u.lost = u.known&^(1<<u.sp), u.lost|1<<u.sp
	}
	return u.arrive(returnTo, fp+8, sp, false)
}

// arrive checks the caller's frame, and enters where its address was. before is the stack pointer of the frame left.
func (u *unwinder) arrive(returnTo, at, before uint64, signal bool) End {
	returnTo &= u.mask
	if returnTo == 0 {
		return Bottom
	}
	sp := u.registers[u.sp]
	if sp < before || sp == before && (u.link == 0 || at != 0 || !u.exact) {
		return NoProgress
	}
	check := returnTo
	if !signal {
		check--
	}
	if u.process.mapping(check) == nil {
		return NotMapped
	}
	if at != 0 {
		value, ok := u.memory(at)
		if !ok {
			return PastCopy
		}
		offset := uint32(at - u.bottom)
		if last := len(u.path.Slots) - 1; last >= 0 && offset <= u.path.Slots[last].Offset {
			return BadInformation
		}
		u.path.Slots = append(u.path.Slots, Slot{offset, value})
	}
	u.registers[u.pc] = returnTo
	u.known |= 1 << u.pc
	u.exact = signal
	return 0
}
