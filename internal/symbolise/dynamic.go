package symbolise

import (
	"debug/elf"
	"encoding/binary"
)

// Tags of the dynamic section.
const (
	dtPLTGOT = uint64(elf.DT_PLTGOT)
	dtRela   = uint64(elf.DT_RELA)
	dtRelaSz = uint64(elf.DT_RELASZ)
)

const mostDynamic = 1 << 16

// dynamicValue is the value of a tag; 0: it is not there.
func (im *image) dynamicValue(tag uint64) uint64 {
	entries := im.prefix(im.dynamic.offset, min(im.dynamic.fileSize, mostDynamic))
	for ; len(entries) >= 16; entries = entries[16:] {
		switch binary.LittleEndian.Uint64(entries) {
		case tag:
			return binary.LittleEndian.Uint64(entries[8:])
		case uint64(elf.DT_NULL):
			return 0
		}
	}
	return 0
}

// mostRelocations bounds a walk over a file's relocations: 2 million of them.
const mostRelocations = 48 << 20

// eachRelative calls do for the relocations that put an address of the file itself somewhere, until it returns false.
func (im *image) eachRelative(do func(where, address uint64) bool) {
	offset, left, ok := im.offset(im.dynamicValue(dtRela))
	left = min(left, im.dynamicValue(dtRelaSz), mostRelocations)
	if !ok {
		return
	}
	relative := uint32(elf.R_X86_64_RELATIVE)
	if im.machine == elf.EM_AARCH64 {
		relative = uint32(elf.R_AARCH64_RELATIVE)
	}
	const entry, chunk = 24, 24 << 10
	for ; left >= entry; offset, left = offset+chunk, left-min(left, chunk) {
		read := im.prefix(offset, min(left, chunk))
		for ; len(read) >= entry; read = read[entry:] {
			if binary.LittleEndian.Uint32(read[8:]) != relative {
				continue
			}
			if !do(binary.LittleEndian.Uint64(read), binary.LittleEndian.Uint64(read[16:])) {
				return
			}
		}
	}
}

// words reads 8-byte words at an address as they are in memory before the file is moved: with its relative relocations.
func (im *image) words(address uint64, count int) ([]uint64, bool) {
	offset, left, ok := im.offset(address)
	if !ok || left < uint64(count)*8 {
		return nil, false
	}
	raw, err := im.bytes(offset, uint64(count)*8)
	if err != nil {
		return nil, false
	}
	words := make([]uint64, count)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(raw[i*8:])
	}
	im.eachRelative(func(where, value uint64) bool {
		if where >= address && where-address < uint64(count)*8 && (where-address)%8 == 0 {
			words[(where-address)/8] = value
		}
		return true
	})
	return words, true
}
