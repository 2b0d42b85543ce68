package symbolise

import (
	"bytes"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Bounds on what an ELF file may say of itself.
const (
	mostLoads     = 256
	mostSections  = 1 << 16
	mostSegments  = 1 << 12
	longestNames  = 1 << 20
	longestNote   = 1 << 16
	longestString = 1 << 12
)

var (
	errNoELF     = errors.New("it is no 64-bit little-endian ELF file")
	errDamaged   = errors.New("the ELF file is damaged")
	errTooLarge  = errors.New("it is larger than connprof reads")
	errNoSection = errors.New("it has no such section")
)

// segment is a program header, section a section header, both as far as they are needed.
type segment struct{ offset, address, fileSize uint64 }

type section struct {
	name                  string
	kind                  elf.SectionType
	flags                 elf.SectionFlag
	address, offset, size uint64
	link                  uint32
}

// image is an ELF file. Only headers are kept, everything else is read when it is asked for.
type image struct {
	from     io.ReaderAt
	size     uint64
	machine  elf.Machine
	kind     elf.Type
	entry    uint64
	loads    []segment // ascending
	ehHeader segment   // PT_GNU_EH_FRAME
	dynamic  segment
	notes    []segment
	sections []section
}

// openImage reads the headers of an ELF file. A file without sections has a use too: it can be unwound.
func openImage(from io.ReaderAt, size uint64) (*image, error) {
	var header elf.Header64
	if err := readStruct(from, 0, &header); err != nil {
		return nil, errNoELF
	}
	if !bytes.Equal(header.Ident[:elf.EI_VERSION], []byte(elf.ELFMAG+"\x02\x01")) {
		return nil, errNoELF
	}
	im := &image{from: from, size: size, machine: elf.Machine(header.Machine), kind: elf.Type(header.Type), entry: header.Entry}
	if err := im.readSegments(&header); err != nil {
		return nil, err
	}
	im.readSections(&header)
	return im, nil
}

func readStruct(from io.ReaderAt, offset uint64, to any) error {
	if offset > 1<<62 {
		return io.ErrUnexpectedEOF
	}
	buffer := make([]byte, binary.Size(to))
	if n, err := from.ReadAt(buffer, int64(offset)); n < len(buffer) {
		return fmt.Errorf("read %d bytes at %d: %w", len(buffer), offset, err)
	}
	_, err := binary.Decode(buffer, binary.LittleEndian, to)
	return err
}

func (im *image) readSegments(header *elf.Header64) error {
	if header.Phnum > mostSegments {
		return errTooLarge
	}
	headers := make([]elf.Prog64, header.Phnum)
	if err := readStruct(im.from, header.Phoff, headers); err != nil {
		return errDamaged
	}
	for _, h := range headers {
		s := segment{h.Off, h.Vaddr, h.Filesz}
		switch elf.ProgType(h.Type) {
		case elf.PT_LOAD:
			im.loads = append(im.loads, s)
		case elf.PT_GNU_EH_FRAME:
			im.ehHeader = s
		case elf.PT_DYNAMIC:
			im.dynamic = s
		case elf.PT_NOTE:
			im.notes = append(im.notes, s)
		}
		if len(im.loads) > mostLoads {
			return errTooLarge
		}
	}
	slices.SortStableFunc(im.loads, func(a, b segment) int {
		switch {
		case a.address < b.address:
			return -1
		case a.address > b.address:
			return 1
		}
		return 0
	})
	return nil
}

// readSections keeps those that lie within the file. Section headers may be missing, or be nonsense: no program needs them.
func (im *image) readSections(header *elf.Header64) {
	if header.Shoff == 0 || header.Shnum == 0 || int(header.Shnum) > mostSections {
		return
	}
	headers := make([]elf.Section64, header.Shnum)
	if readStruct(im.from, header.Shoff, headers) != nil || int(header.Shstrndx) >= len(headers) {
		return
	}
	at := headers[header.Shstrndx]
	names, _ := im.bytes(at.Off, min(at.Size, longestNames))
	im.sections = make([]section, 0, len(headers))
	for _, h := range headers {
		s := section{kind: elf.SectionType(h.Type), flags: elf.SectionFlag(h.Flags), address: h.Addr,
			offset: h.Off, size: h.Size, link: h.Link}
		if s.kind == elf.SHT_NOBITS || s.offset > im.size || s.size > im.size-s.offset {
			s.size = 0
		}
		if uint64(h.Name) < uint64(len(names)) {
			name, _, _ := bytes.Cut(names[h.Name:], []byte{0})
			s.name = string(name[:min(len(name), 64)])
		}
		im.sections = append(im.sections, s)
	}
}

// section finds one that has content, by name.
func (im *image) section(names ...string) *section {
	for i := range im.sections {
		if s := &im.sections[i]; s.size > 0 && slices.Contains(names, s.name) {
			return s
		}
	}
	return nil
}

// bytes reads some of the file. How many there are must be bounded by the caller.
func (im *image) bytes(offset, size uint64) ([]byte, error) {
	if offset > im.size || size > im.size-offset {
		return nil, errDamaged
	}
	buffer := make([]byte, size)
	if n, err := im.from.ReadAt(buffer, int64(offset)); n < len(buffer) {
		return nil, fmt.Errorf("read %d bytes at %d: %w", size, offset, err)
	}
	return buffer, nil
}

// prefix reads up to so many bytes.
func (im *image) prefix(offset, size uint64) []byte {
	if offset >= im.size {
		return nil
	}
	buffer := make([]byte, min(size, im.size-offset))
	n, _ := im.from.ReadAt(buffer, int64(offset))
	return buffer[:max(n, 0)]
}

// data reads a section, and inflates it. Neither form may be larger than most.
func (im *image) data(s *section, most uint64) ([]byte, error) {
	if s == nil {
		return nil, errNoSection
	}
	if s.size > most {
		return nil, fmt.Errorf("section %s has %d MiB: %w", s.name, s.size>>20, errTooLarge)
	}
	raw, err := im.bytes(s.offset, s.size)
	if err != nil || s.flags&elf.SHF_COMPRESSED == 0 {
		return raw, err
	}
	var header elf.Chdr64
	if _, err := binary.Decode(raw, binary.LittleEndian, &header); err != nil {
		return nil, errDamaged
	}
	if header.Size > most {
		return nil, fmt.Errorf("section %s has %d MiB: %w", s.name, header.Size>>20, errTooLarge)
	}
	if elf.CompressionType(header.Type) != elf.COMPRESS_ZLIB {
		return nil, fmt.Errorf("section %s is compressed in way %d, which connprof does not read", s.name, header.Type)
	}
	return inflate(raw[binary.Size(header):], header.Size)
}

func inflate(raw []byte, size uint64) ([]byte, error) {
	unpacked, err := zlib.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, errDamaged
	}
	defer unpacked.Close()
	var out bytes.Buffer // grows with what there is, not with what the header promises
	if n, err := io.CopyN(&out, unpacked, int64(size)); uint64(n) < size {
		return nil, fmt.Errorf("inflate a section: %w", err)
	}
	return out.Bytes(), nil
}

// address is where the byte at an offset of the file is in the file's own address space.
func (im *image) address(offset uint64) (uint64, bool) {
	for _, s := range im.loads {
		if offset >= s.offset && offset-s.offset < s.fileSize {
			return offset - s.offset + s.address, true
		}
	}
	return 0, false
}

// offset is where an address is in the file, and how many bytes of its segment follow.
func (im *image) offset(address uint64) (offset, left uint64, ok bool) {
	for _, s := range im.loads {
		if address >= s.address && address-s.address < s.fileSize {
			at := address - s.address
			if s.offset > im.size || at > im.size-s.offset {
				return 0, 0, false
			}
			return s.offset + at, min(s.fileSize-at, im.size-s.offset-at), true
		}
	}
	return 0, 0, false
}

// word reads 8 bytes at an address.
func (im *image) word(address uint64) (uint64, bool) {
	offset, left, ok := im.offset(address)
	if !ok || left < 8 {
		return 0, false
	}
	read, err := im.bytes(offset, 8)
	if err != nil {
		return 0, false
	}
	return binary.LittleEndian.Uint64(read), true
}

// cString reads a string that ends in a zero byte.
func (im *image) cString(offset uint64) string {
	for _, size := range []uint64{128, longestString} {
		read := im.prefix(offset, size)
		if end := bytes.IndexByte(read, 0); end >= 0 {
			return string(read[:end])
		}
	}
	return ""
}

// buildID is GNU's in hexadecimal digits, or else Go's.
func (im *image) buildID() string {
	var gos string
	for _, s := range im.notes {
		notes := im.prefix(s.offset, min(s.fileSize, longestNote))
		for len(notes) >= 12 {
			nameSize, size := binary.LittleEndian.Uint32(notes), binary.LittleEndian.Uint32(notes[4:])
			kind, rest := binary.LittleEndian.Uint32(notes[8:]), notes[12:]
			padded := (uint64(nameSize) + 3) &^ 3
			if padded+uint64(size) > uint64(len(rest)) {
				break
			}
			name, content := string(rest[:nameSize]), rest[padded:padded+uint64(size)]
			switch {
			case name == "GNU\x00" && kind == 3 && size <= 64:
				return hex.EncodeToString(content)
			case name == "Go\x00\x00" && kind == 4 && size <= 256:
				gos = string(content)
			}
			notes = rest[min(uint64(len(rest)), padded+(uint64(size)+3)&^3):]
		}
	}
	return gos
}
