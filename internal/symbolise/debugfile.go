package symbolise

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/ulikunitz/xz/lzma"
)

// separate is the file that has the symbols and lines of a stripped one.
type separate struct {
	im     *image
	opened io.Closer
}

// findDebug looks for a file's separate debug file: by its build ID, and by the name that it has itself, below the process's
// root and on the host. It must have the same build ID.
func (s *Store) findDebug(im *image, buildID, root, name string) *separate {
	if !isHex(buildID) || len(buildID) < 4 {
		return nil
	}
	var paths []string
	for _, dir := range s.options.DebugDirs {
		paths = append(paths, path.Join(dir, ".build-id", buildID[:2], buildID[2:]+".debug"))
	}
	if link := im.debugLink(); link != "" {
		dir := path.Dir(name)
		paths = append(paths, path.Join(dir, link), path.Join(dir, ".debug", link))
		for _, debugDir := range s.options.DebugDirs {
			paths = append(paths, path.Join(debugDir, dir, link))
		}
	}
	for _, below := range []string{root, "/"} {
		for _, at := range paths {
			if found := s.openDebug(below, at, buildID); found != nil {
				return found
			}
		}
	}
	return nil
}

func (s *Store) openDebug(root, name, buildID string) *separate {
	f, err := s.gate.open(func() (*os.File, identity, error) {
		f, err := openInRoot(root, name)
		if err != nil {
			return nil, identity{}, err
		}
		id, err := identify(f)
		return keep(f, id, err)
	})
	if err != nil {
		return nil
	}
	im, err := openImage(f, uint64(max(f.id.size, 0)))
	if err != nil || im.machine != s.machine || im.buildID() != buildID {
		f.Close()
		return nil
	}
	return &separate{im, f}
}

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// debugLink is the base name of the separate debug file.
func (im *image) debugLink() string {
	s := im.section(".gnu_debuglink")
	if s == nil {
		return ""
	}
	c := &cursor{data: im.prefix(s.offset, min(s.size, 256))}
	name := c.cString()
	if c.bad || name != filepath.Base(name) || name == ".." || name == "." {
		return ""
	}
	return name
}

// Bounds on .gnu_debugdata, a compressed ELF file with the symbols of functions. That of a large library has 1 MB.
const (
	mostPacked     = 8 << 20
	mostUnpacked   = 32 << 20
	mostDictionary = 32 << 20
)

var errXZ = errors.New("its compressed symbols are damaged, or in a form that connprof does not read")

// miniDebug is the ELF file in .gnu_debugdata.
func (im *image) miniDebug() (*image, error) {
	s := im.section(".gnu_debugdata")
	if s == nil {
		return nil, errNoSection
	}
	packed, err := im.data(s, mostPacked)
	if err != nil {
		return nil, err
	}
	unpacked, err := unpack(packed)
	if err != nil {
		return nil, err
	}
	return openImage(bytes.NewReader(unpacked), uint64(len(unpacked)))
}

// unpack reads the first block of an xz file (The .xz File Format 1.2.1), which is all where it was packed by one thread. The
// size of the dictionary is bounded before anything is allocated.
func unpack(packed []byte) ([]byte, error) {
	const header = 12
	if len(packed) < header+8 || !bytes.Equal(packed[:6], []byte("\xfd7zXZ\x00")) || packed[header] == 0 {
		return nil, errXZ
	}
	block := &cursor{data: packed[header:]}
	end := (int(block.u8()) + 1) * 4
	flags := block.u8()
	for _, sized := range []uint8{0x40, 0x80} {
		if flags&sized != 0 {
			block.uleb()
		}
	}
	filter, properties := block.uleb(), block.uleb()
	dictionary := dictionarySize(block.u8())
	const lzma2 = 0x21
	if block.bad || flags&3 != 0 || filter != lzma2 || properties != 1 || dictionary > mostDictionary || end > len(block.data) {
		return nil, errXZ
	}
	reader, err := lzma.Reader2Config{DictCap: int(max(dictionary, lzma.MinDictCap))}.NewReader2(bytes.NewReader(block.data[end:]))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errXZ, err)
	}
	var out bytes.Buffer
	if _, err := io.CopyN(&out, reader, mostUnpacked+1); err == nil {
		return nil, errTooLarge
	} else if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %w", errXZ, err)
	}
	return out.Bytes(), nil
}

// dictionarySize is how the format writes sizes of 4 KiB to 4 GiB in one byte.
func dictionarySize(bits uint8) uint64 {
	if bits > 39 {
		return 1<<32 - 1
	}
	return (2 | uint64(bits)&1) << (bits/2 + 11)
}

// dwarfSections are those that names and lines are read from.
var dwarfSections = []string{"abbrev", "info", "line", "ranges", "str", "addr", "line_str", "str_offsets", "rnglists"}

// dwarfData reads the sections of DWARF. All together they must not have more than so many bytes.
func (im *image) dwarfData(most uint64) (map[string][]byte, error) {
	sections := map[string][]byte{}
	var total uint64
	for _, name := range dwarfSections {
		s, old := im.section(".debug_"+name), im.section(".zdebug_"+name)
		if s == nil && old == nil {
			continue
		}
		var data []byte
		var err error
		if s != nil {
			data, err = im.data(s, most-total)
		} else {
			data, err = im.oldCompressed(old, most-total)
		}
		if err != nil {
			return nil, err
		}
		total += uint64(len(data))
		sections[name] = data
	}
	if sections["info"] == nil || sections["abbrev"] == nil {
		return nil, errNoSection
	}
	return sections, nil
}

// oldCompressed reads a section as it was compressed before ELF had a flag for it.
func (im *image) oldCompressed(s *section, most uint64) ([]byte, error) {
	raw, err := im.data(s, most)
	if err != nil {
		return nil, err
	}
	if len(raw) < 12 || string(raw[:4]) != "ZLIB" {
		return nil, errDamaged
	}
	size := binary.BigEndian.Uint64(raw[4:])
	if size > most {
		return nil, errTooLarge
	}
	return inflate(raw[12:], size)
}

func (im *image) hasSymtab() bool {
	for i := range im.sections {
		if s := &im.sections[i]; s.kind == elf.SHT_SYMTAB && s.size > 0 {
			return true
		}
	}
	return false
}
