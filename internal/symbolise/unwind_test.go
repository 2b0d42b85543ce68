package symbolise

import (
	"debug/elf"
	"slices"
	"testing"
)

// unwindCase is a stack, and what it must come to.
type unwindCase struct {
	name         string
	augmentation string
	initial      []byte
	functions    []madeFDE
	registers    map[int]uint64
	memory       []uint64
	addresses    []uint64
	slots        []uint32
	end          End
}

// leb of a negative number, for offsets.
const (
	minus4 = 0x7c
	minus8 = 0x78
)

func (c *unwindCase) check(t *testing.T, machine elf.Machine) {
	t.Helper()
	augmentation, data, ra := "zR", byte(minus8), byte(amd64.pc)
	if machine == elf.EM_AARCH64 {
		ra = arm64.link
	}
	if c.augmentation != "" {
		augmentation = c.augmentation
	}
	p := makeProcess(t, machine, makeELF(machine, code(),
		madeSection{name: ".eh_frame", kind: elf.SHT_PROGBITS, fill: fixed(makeCFI(augmentation, 1, data, ra, c.initial,
			c.functions...))}))
	s := &Sample{Memory: words(c.memory...)}
	for number, value := range c.registers {
		s.Registers[number] = value
	}
	path := p.Unwind(s)
	checkSlots(t, s, path)
	var slots []uint32
	for _, slot := range path.Slots {
		slots = append(slots, slot.Offset)
	}
	if !slices.Equal(path.Addresses, c.addresses) || !slices.Equal(slots, c.slots) || path.End != c.end {
		t.Errorf("%#x, slots at %d, %v\nwant %#x, slots at %d, %v", path.Addresses, slots, path.End, c.addresses, c.slots, c.end)
	}
}

// The CIE of amd64: the CFA is rsp + 8, the return address at CFA - 8.
var initialAMD64 = []byte{cfaDef, 7, 8, cfaOffset | 16, 1}

func TestUnwindTablesOfAMD64(t *testing.T) {
	const at = codeAt
	leaf := madeFDE{begin: at, size: 0x10}
	first := madeFDE{begin: at + 0x80, size: 0x10, instructions: []byte{cfaUndefined, 16}}
	start := map[int]uint64{7: madeSP, 16: at + 4}
	for _, c := range []unwindCase{
		{name: "a leaf and the first function", functions: []madeFDE{leaf, first}, memory: []uint64{at + 0x84},
			addresses: []uint64{at + 4, at + 0x84}, slots: []uint32{0}, end: Bottom},
		{name: "a frame that grows later does not count yet", functions: []madeFDE{{at, 0x10, []byte{cfaAdvance | 5, cfaDefOffset,
			64}}, first},
			memory: []uint64{at + 0x84}, addresses: []uint64{at + 4, at + 0x84}, slots: []uint32{0}, end: Bottom},
		{name: "a frame that has grown", functions: []madeFDE{{at, 0x10, []byte{cfaAdvance1, 4, cfaDefOffset, 24}}, first},
			memory: []uint64{1, 2, at + 0x84}, addresses: []uint64{at + 4, at + 0x84}, slots: []uint32{16}, end: Bottom},
		{name: "an epilogue in the middle", functions: []madeFDE{{at, 0x10,
			[]byte{cfaDefOffset, 24, cfaAdvance | 1, cfaRemember, cfaDefOffset, 8, cfaAdvance | 1, cfaRestoreState}}, first},
			memory: []uint64{1, 2, at + 0x84}, addresses: []uint64{at + 4, at + 0x84}, slots: []uint32{16}, end: Bottom},
		{name: "a saved frame pointer finds the next frame", functions: []madeFDE{{at, 0x10, []byte{cfaDefOffset, 16, cfaOffset | 6,
			2}},
			{at + 0x20, 0x10, []byte{cfaDef, 6, 16}}, first}, memory: []uint64{madeSP + 32, at + 0x24, 0, 0, 0, at + 0x84},
			addresses: []uint64{at + 4, at + 0x24, at + 0x84}, slots: []uint32{8, 40}, end: Bottom},
		{name: "a register that another one keeps", functions: []madeFDE{{at, 0x10, []byte{cfaDef, 10, 0, cfaRegister, 6, 11}},
			{at + 0x20, 0x10, []byte{cfaDef, 6, 16}}, first}, memory: []uint64{0, 0, 0, at + 0x24, 0, at + 0x84},
			addresses: []uint64{at + 4, at + 0x24, at + 0x84}, slots: []uint32{24, 40}, end: Bottom},
		{name: "val_offset", functions: []madeFDE{{at, 0x10, []byte{cfaValOffsetSF, 6, 0x7c}}, {at + 0x20, 0x10, []byte{cfaDef, 6,
			16}}, first},
			memory:    []uint64{at + 0x24, 0, 0, 0, 0, 0, at + 0x84},
			addresses: []uint64{at + 4, at + 0x24, at + 0x84}, slots: []uint32{0, 48}, end: Bottom},
		{name: "a stub of the PLT that has pushed", functions: []madeFDE{plt(at), first}, registers: map[int]uint64{7: madeSP,
			16: at + 0x1b},
			memory: []uint64{1, at + 0x84}, addresses: []uint64{at + 0x1b, at + 0x84}, slots: []uint32{8}, end: Bottom},
		{name: "a stub of the PLT that has not pushed", functions: []madeFDE{plt(at), first}, registers: map[int]uint64{7: madeSP,
			16: at + 0x16},
			memory: []uint64{at + 0x84}, addresses: []uint64{at + 0x16, at + 0x84}, slots: []uint32{0}, end: Bottom},
		{name: "a copy that ends too early", functions: []madeFDE{{at, 0x10, []byte{cfaDefOffset, 24}}}, memory: []uint64{1, 2},
			addresses: []uint64{at + 4}, end: PastCopy},
		{name: "a return address in no code", functions: []madeFDE{leaf}, memory: []uint64{12345}, addresses: []uint64{at + 4},
			end: NotMapped},
		{name: "zero ends a stack", functions: []madeFDE{leaf}, memory: []uint64{0}, addresses: []uint64{at + 4}, end: Bottom},
		{name: "a frame that does not grow", functions: []madeFDE{{at, 0x10, []byte{cfaDefOffset, 0, cfaOffset | 16, 0}}},
			memory:    []uint64{at + 4},
			addresses: []uint64{at + 4}, end: NoProgress},
		{name: "an unknown instruction", functions: []madeFDE{{at, 0x10, []byte{0x3f}}}, memory: []uint64{at + 4},
			addresses: []uint64{at + 4},
			end:       BadInformation},
		{name: "a state that nobody remembered", functions: []madeFDE{{at, 0x10, []byte{cfaRestoreState}}}, memory: []uint64{at + 4},
			addresses: []uint64{at + 4}, end: BadInformation},
		{name: "no table and no frame pointer", memory: []uint64{at + 4}, addresses: []uint64{at + 4}, end: NoInformation},
		{name: "code made at run time keeps frame pointers", registers: map[int]uint64{7: madeSP, 6: madeSP + 16, 16: jit + 8},
			functions: []madeFDE{first},
			memory:    []uint64{1, 2, 0, at + 0x84}, addresses: []uint64{jit + 8, at + 0x84}, slots: []uint32{24}, end: Bottom},
		{name: "code made at run time without frame pointers", registers: map[int]uint64{7: madeSP, 6: 77, 16: jit + 8},
			memory:    []uint64{1},
			addresses: []uint64{jit + 8}, end: NotInFile},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.initial = initialAMD64
			if c.registers == nil {
				c.registers = map[int]uint64{10: madeSP + 32, 11: madeSP + 32, 7: start[7], 16: start[16]}
			}
			c.check(t, elf.EM_X86_64)
		})
	}
}

// plt is the entry that linkers write for stubs: CFA = rsp + 8 + (rip & 15 >= 11) << 3.
func plt(at uint64) madeFDE {
	return madeFDE{at + 0x10, 0x10, []byte{cfaDefExpression, 11, opBreg0 + 7, 8, opBreg0 + 16, 0, opLit0 + 15, opAnd, opLit0 + 11,
		opGe,
		opLit0 + 3, opShl, opPlus}}
}

// A signal handler returns to code that was interrupted, not called: its address is looked up as it is. Here that is the first
// instruction of a function, and one less would be in another one. The registers are where expressions say.
func TestASignalHandlerIsUnwoundIntoWhatItInterrupted(t *testing.T) {
	const at = codeAt
	const saved = 64 // where the kernel has saved the registers, above the stack pointer
	c := unwindCase{augmentation: "zRS", functions: []madeFDE{
		{at, 0x10, []byte{
			cfaDefExpression, 4, opBreg0 + 7, saved | 0x80, 0, opDeref,
			cfaExpression, 16, 3, opBreg0 + 7, (saved + 8) | 0x80, 0,
		}},
		{at + 0x20, 0x10, []byte{cfaDef, 7, 8, cfaOffset | 16, 1, cfaUndefined, 16}},
	}, registers: map[int]uint64{7: madeSP, 16: at + 4},
		memory:    []uint64{0, 0, 0, 0, 0, 0, 0, 0, madeSP + 96, at + 0x20},
		addresses: []uint64{at + 4, at + 0x20}, slots: []uint32{saved + 8}, end: Bottom}
	c.check(t, elf.EM_X86_64)
}

// The CIE of arm64: the CFA is sp. The return address is in x30 until it is saved.
var initialARM64 = []byte{cfaDef, 31, 0}

func TestUnwindTablesOfARM64(t *testing.T) {
	const at = codeAt
	const signature = 0x5a5a << 52 & (1<<64 - 1)
	first := madeFDE{begin: at + 0x80, size: 0x10, instructions: []byte{cfaUndefined, 30}}
	saves := madeFDE{at + 0x20, 0x10, []byte{cfaDefOffset, 32, cfaOffset | 29, 4, cfaOffset | 30, 3}}
	signs := madeFDE{at + 0x20, 0x10, []byte{cfaNegateRA, cfaDefOffset, 32, cfaOffset | 29, 4, cfaOffset | 30, 3}}
	for _, c := range []unwindCase{
		{name: "a leaf has its return address in a register", functions: []madeFDE{{begin: at, size: 0x10}, first},
			registers: map[int]uint64{30: at + 0x84}, addresses: []uint64{at + 4, at + 0x84}, end: Bottom},
		{name: "a frame", functions: []madeFDE{{begin: at, size: 0x10}, saves, first}, registers: map[int]uint64{30: at + 0x24},
			memory: []uint64{7, at + 0x84, 0, 0}, addresses: []uint64{at + 4, at + 0x24, at + 0x84}, slots: []uint32{8}, end: Bottom},
		{name: "a signed return address", functions: []madeFDE{{begin: at, size: 0x10}, signs, first},
			registers: map[int]uint64{30: at + 0x24},
			memory:    []uint64{7, at + 0x84 | signature, 0, 0}, addresses: []uint64{at + 4, at + 0x24,
				at + 0x84}, slots: []uint32{8}, end: Bottom},
		{name: "a frame by the frame pointer", functions: []madeFDE{{at, 0x10, []byte{cfaDef, 29, 32, cfaOffset | 29, 4, cfaOffset |
			30, 3}}, first},
			registers: map[int]uint64{29: madeSP + 16, 30: 1}, memory: []uint64{0, 0, 5, at + 0x84, 0, 0},
			addresses: []uint64{at + 4, at + 0x84}, slots: []uint32{24}, end: Bottom},
		{name: "frames without a table", registers: map[int]uint64{29: madeSP, 32: jit + 4}, functions: []madeFDE{first},
			memory:    []uint64{madeSP + 24, jit + 8, 0, 0, at + 0x84},
			addresses: []uint64{jit + 4, jit + 8, at + 0x84}, slots: []uint32{8, 32}, end: Bottom},
		{name: "a stack pointer that frame pointers do not tell", registers: map[int]uint64{29: madeSP, 32: jit + 4},
			functions: []madeFDE{saves},
			memory:    []uint64{madeSP + 16, at + 0x24, 0, 0, 0, 0, 0}, addresses: []uint64{jit + 4,
				at + 0x24}, slots: []uint32{8}, end: NoInformation},
		{name: "a leaf that calls itself for ever", functions: []madeFDE{{begin: at, size: 0x10}},
			registers: map[int]uint64{30: at + 4},
			addresses: []uint64{at + 4, at + 4}, end: NoProgress},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.initial = initialARM64
			if c.registers[32] == 0 {
				c.registers[32] = at + 4
			}
			c.registers[31] = madeSP
			c.check(t, elf.EM_AARCH64)
		})
	}
}

func TestAPathHasNoMoreFramesThanIsSaid(t *testing.T) {
	memory := make([]uint64, 2*MaxFrames)
	for i := range memory {
		memory[i] = codeAt + 4
	}
	addresses := slices.Repeat([]uint64{codeAt + 4}, MaxFrames)
	var slots []uint32
	for i := range MaxFrames {
		slots = append(slots, uint32(8*i))
	}
	c := unwindCase{initial: initialAMD64, functions: []madeFDE{{begin: codeAt, size: 16}}, registers: map[int]uint64{7: madeSP,
		16: codeAt + 4},
		memory: memory, addresses: addresses, slots: slots[:MaxFrames-1], end: TooDeep}
	c.check(t, elf.EM_X86_64)
}
