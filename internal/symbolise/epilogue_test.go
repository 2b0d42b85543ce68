package symbolise

import (
	"debug/elf"
	"slices"
	"testing"
)

func TestCodeTellsTheFrameWhereNoTableDoes(t *testing.T) {
	const back = codeAt + 0x85 // behind a call
	whole := []uint64{codeAt, back}
	for _, c := range []struct {
		name   string
		code   []byte
		fp     uint64
		memory []uint64
		want   []uint64
		end    End
	}{
		{"a leaf", []byte{0xc3}, 1, []uint64{back}, whole, Bottom},
		{"a frame and a saved register", []byte{0x48, 0x83, 0xc4, 0x10, 0x5b, 0xc3}, 1, []uint64{1, 2, 3, back}, whole, Bottom},
		{"a frame pointer", []byte{0xc9, 0xc3}, madeSP + 16, []uint64{1, 2, 3, back}, whole, Bottom},
		{"a jump", []byte{0xeb, 1, 0x0b, 0x58, 0xc3}, 1, []uint64{1, back}, whole, Bottom},
		{"a condition", []byte{0x74, 2, 0x0f, 0x0b, 0x58, 0xc3}, 1, []uint64{1, back}, whole, Bottom},
		{"a loop", []byte{0x58, 0x50, 0x75, 0xfc, 0x58, 0xc3}, 1, []uint64{1, back}, whole, Bottom},
		{"a call on the way", []byte{0xe8, 0, 0, 0, 0, 0x58, 0xc3}, 1, []uint64{1, back}, whole, Bottom},
		{"a call of the last function", []byte{0x58, 0xff, 0xe0}, 1, []uint64{1, back}, whole, Bottom},
		{"a call that does not return", []byte{0xe8, 0, 0, 0, 0, 0x0f, 0x1f, 0, 0xc3}, 1, []uint64{back}, whole[:1], NoInformation},
		{"an address that follows no call", []byte{0xc3}, 1, []uint64{back + 1}, whole[:1], NoInformation},
		{"a stack pointer from elsewhere", []byte{0x48, 0x89, 0xc4, 0xc3}, 1, []uint64{back}, whole[:1], NoInformation},
		{"a copy that is too short", []byte{0x48, 0x83, 0xc4, 0x70, 0xc3}, 1, []uint64{back}, whole[:1], PastCopy},
		{"no code", []byte{0x06}, 1, []uint64{back}, whole[:1], NoInformation},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := make([]byte, codeSize)
			copy(text, c.code)
			copy(text[0x80:], []byte{0xe8, 0, 0, 0, 0})
			first := madeFDE{begin: codeAt + 0x80, size: 0x10, instructions: []byte{cfaUndefined, 16}}
			p := makeProcess(t, elf.EM_X86_64, makeELF(elf.EM_X86_64,
				madeSection{name: ".text", kind: elf.SHT_PROGBITS, flags: elf.SHF_EXECINSTR | elf.SHF_ALLOC, fill: fixed(text)},
				madeSection{name: ".eh_frame", kind: elf.SHT_PROGBITS, fill: fixed(makeCFI("zR", 1, minus8, 16, initialAMD64, first))}))
			s := &Sample{Memory: words(c.memory...)}
			s.Registers[amd64.sp], s.Registers[amd64.fp], s.Registers[amd64.pc] = madeSP, c.fp, codeAt
			path := p.Unwind(s)
			checkSlots(t, s, path)
			if !slices.Equal(path.Addresses, c.want) || path.End != c.end {
				t.Errorf("%#x, %v, want %#x, %v", path.Addresses, path.End, c.want, c.end)
			}
		})
	}
}
