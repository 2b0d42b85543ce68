package symbolise

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"
)

// madeBase is where made-up files have their first byte.
const madeBase = 0x400000

// madeSection is a section of a made-up file. fill gets the address that it will have.
type madeSection struct {
	name  string
	kind  elf.SectionType
	flags elf.SectionFlag
	link  string
	fill  func(address uint64) []byte
}

func fixed(data []byte) func(uint64) []byte { return func(uint64) []byte { return data } }

// makeELF makes a file of one segment, which has all of it. What is called .eh_frame_hdr also has a program header.
func makeELF(machine elf.Machine, sections ...madeSection) []byte {
	const headers = 64 + 2*56
	out := make([]byte, headers)
	names := []byte{0}
	table := make([]elf.Section64, 1, len(sections)+2)
	index := map[string]uint32{}
	var index64 elf.Prog64
	for i, s := range append(sections, madeSection{name: ".shstrtab", kind: elf.SHT_STRTAB}) {
		for len(out)%16 != 0 {
			out = append(out, 0)
		}
		h := elf.Section64{Name: uint32(len(names)), Type: uint32(s.kind), Flags: uint64(s.flags), Off: uint64(len(out)),
			Addr: madeBase + uint64(len(out)), Link: index[s.link]}
		names = append(append(names, s.name...), 0)
		data := names
		if s.fill != nil {
			data = s.fill(h.Addr)
		}
		h.Size = uint64(len(data))
		if s.name == ".eh_frame_hdr" {
			index64 = elf.Prog64{Type: uint32(elf.PT_GNU_EH_FRAME), Off: h.Off, Vaddr: h.Addr, Filesz: h.Size}
		}
		out = append(out, data...)
		table = append(table, h)
		index[s.name] = uint32(i + 1)
	}
	header := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(machine), Version: 1, Phoff: 64, Phnum: 2, Phentsize: 56,
		Ehsize: 64,
		Shoff:  uint64(len(out)), Shnum: uint16(len(table)), Shentsize: 64, Shstrndx: uint16(len(table) - 1)}
	copy(header.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	var tail bytes.Buffer
	binary.Write(&tail, binary.LittleEndian, table)
	out = append(out, tail.Bytes()...)
	load := elf.Prog64{Type: uint32(elf.PT_LOAD), Vaddr: madeBase, Filesz: uint64(len(out)), Memsz: uint64(len(out))}
	var head bytes.Buffer
	binary.Write(&head, binary.LittleEndian, header)
	binary.Write(&head, binary.LittleEndian, []elf.Prog64{load, index64})
	copy(out, head.Bytes())
	return out
}

// le is numbers as bytes.
func le(values ...any) []byte {
	var out bytes.Buffer
	for _, v := range values {
		if raw, ok := v.([]byte); ok {
			out.Write(raw)
			continue
		}
		binary.Write(&out, binary.LittleEndian, v)
	}
	return out.Bytes()
}

// madeFDE is a function of a made-up unwind table.
type madeFDE struct {
	begin, size  uint64
	instructions []byte
}

// makeCFI makes an .eh_frame of one CIE, with addresses as they are.
func makeCFI(augmentation string, code, data byte, ra byte, initial []byte, functions ...madeFDE) []byte {
	const absolute = 0
	head := le(uint32(0), byte(1), []byte(augmentation+"\x00"), code, data, ra, byte(1), byte(absolute), initial)
	out := le(uint32(len(head)), head)
	for _, f := range functions {
		body := le(uint32(len(out)+4), f.begin, f.size, byte(0), f.instructions)
		out = append(out, le(uint32(len(body)), body)...)
	}
	return append(out, 0, 0, 0, 0)
}

// makeProcess is a process that has made-up files mapped where they want to be, and code without a file at jit.
func makeProcess(t testing.TB, machine elf.Machine, content []byte) *Process {
	t.Helper()
	store := NewStore(Options{Proc: t.TempDir()})
	store.machine = machine
	f := &file{store: store, steps: map[uint64]step{}, found: map[uint64][]Frame{}}
	if f.im, f.err = openImage(bytes.NewReader(content), uint64(len(content))); f.err != nil {
		t.Fatal(f.err)
	}
	return &Process{store: store, pid: 1, inside: 1, maps: []*mapping{
		{start: madeBase, limit: madeBase + uint64(len(content)), path: "/made", tried: true, file: f},
		{start: jit, limit: jit + 0x1000, tried: true},
	}}
}

const (
	jit      = 0x7f0000000000
	madeSP   = 0x7ffffff00000
	codeSize = 0x1000
)

// code is a section of code.
func code() madeSection {
	return madeSection{name: ".text", kind: elf.SHT_PROGBITS, flags: elf.SHF_EXECINSTR | elf.SHF_ALLOC, fill: fixed(make([]byte,
		codeSize))}
}

// codeAt is where the section code begins, if it is the first.
const codeAt = madeBase + 64 + 2*56

// words is a made-up stack.
func words(values ...uint64) []byte { return le(values) }
