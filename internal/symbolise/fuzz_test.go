package symbolise

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ulikunitz/xz"
)

// everything asks a file all that can be asked, and a made-up stack of it.
func everything(t testing.TB, content []byte) {
	t.Helper()
	store := NewStore(Options{Proc: t.TempDir(), DebugDirs: []string{}})
	f := &file{store: store, steps: map[uint64]step{}, found: map[uint64][]Frame{}}
	if f.im, f.err = openImage(bytes.NewReader(content), uint64(len(content))); f.err != nil {
		return
	}
	store.machine = f.im.machine
	p := &Process{store: store, maps: []*mapping{{start: madeBase, limit: madeBase + 1<<20, path: "/made", tried: true, file: f}}}
	s := &Sample{Memory: bytes.Repeat(words(codeAt+4, madeSP+64, codeAt+0x21, 0), 64)}
	for i := range s.Registers {
		s.Registers[i] = madeSP + uint64(i)*8
	}
	arch := store.architecture()
	s.Registers[arch.sp] = madeSP
	for _, at := range []uint64{codeAt, codeAt + 4, codeAt + 0x41, f.im.entry, madeBase + uint64(len(content)) - 1} {
		s.Registers[arch.pc] = at
		path := p.Unwind(s)
		checkSlots(t, s, path)
		p.Frames(path.Addresses)
	}
	f.buildID()
	f.weight()
}

func FuzzELF(f *testing.F) {
	f.Add(small())
	f.Add(makeELF(elf.EM_AARCH64, code(), madeSection{name: ".gnu_debuglink", kind: elf.SHT_PROGBITS,
		fill: fixed([]byte("x.debug\x00"))}))
	f.Fuzz(func(t *testing.T, content []byte) { everything(t, content) })
}

func FuzzEhFrame(f *testing.F) {
	at := uint64(codeAt)
	f.Add([]byte(nil), []byte{cfaDefOffset, 24}, false)
	f.Add([]byte{1, 0x1b, 0x03, 0x3b, 0, 0, 0, 0, 1, 0, 0, 0}, plt(at).instructions, false)
	f.Add([]byte(nil), []byte{cfaRemember, cfaAdvance2, 1, 0, cfaRestoreState, cfaExpression, 16, 3, opBreg0 + 7, 8, opDeref}, true)
	f.Fuzz(func(t *testing.T, header, instructions []byte, raw bool) {
		table := makeCFI("zR", 1, minus8, 16, initialAMD64, madeFDE{at, 64, instructions})
		if raw {
			table = instructions
		}
		sections := []madeSection{code(), {name: ".eh_frame", kind: elf.SHT_PROGBITS, fill: fixed(table)}}
		if header != nil {
			sections = append(sections, madeSection{name: ".eh_frame_hdr", kind: elf.SHT_PROGBITS, fill: fixed(header)})
		}
		everything(t, makeELF(elf.EM_X86_64, sections...))
	})
}

func FuzzPclntab(f *testing.F) {
	for _, magic := range []uint32{pclntab116, pclntab118, pclntab120} {
		head := le(magic, uint16(0), byte(1), byte(8), uint64(1), uint64(1), uint64(codeAt), uint64(72), uint64(80), uint64(88),
			uint64(96), uint64(112))
		f.Add(append(head, le([]byte("main.f\x00\x00"), uint32(0), uint32(0), []byte("x.go\x00\x00\x00\x00"), []byte{2, 64, 0, 2, 64,
			0, 2, 64},
			uint64(0), uint32(0), uint32(16), uint32(64), uint32(0), uint32(0), uint32(0), make([]byte, 64))...))
	}
	f.Fuzz(func(t *testing.T, table []byte) {
		everything(t, makeELF(elf.EM_X86_64, code(), madeSection{name: ".gopclntab", kind: elf.SHT_PROGBITS, fill: fixed(table)}))
	})
}

func FuzzDWARF(f *testing.F) {
	abbrev := []byte{1, 0x11, 1, 0x11, 0x01, 0x12, 0x07, 0, 0, 2, 0x2e, 0, 0x03, 0x08, 0x11, 0x01, 0x12, 0x07, 0, 0, 0}
	info := le(uint16(4), uint32(0), byte(8), byte(1), uint64(codeAt), uint64(64), byte(2), []byte("f\x00"), uint64(codeAt),
		uint64(64), byte(0))
	f.Add(abbrev, append(le(uint32(len(info))), info...), []byte(nil))
	f.Fuzz(func(t *testing.T, abbrev, info, line []byte) {
		everything(t, makeELF(elf.EM_X86_64, code(), madeSection{name: ".debug_abbrev", kind: elf.SHT_PROGBITS, fill: fixed(abbrev)},
			madeSection{name: ".debug_info", kind: elf.SHT_PROGBITS, fill: fixed(info)},
			madeSection{name: ".debug_line", kind: elf.SHT_PROGBITS, fill: fixed(line)}))
	})
}

func FuzzPerfMap(f *testing.F) {
	f.Add("1000 20 first\n0x1020 0x10 second name\nbad\n1000 10 again\n", uint64(0x1004))
	f.Fuzz(func(t *testing.T, text string, address uint64) {
		m := &perfMap{}
		if err := m.add(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if name, ok := m.find(address); ok && !strings.Contains(text, name) {
			t.Errorf("%q is not in the map", name)
		}
		if m.at > int64(len(text)) {
			t.Errorf("%d bytes of %d are read", m.at, len(text))
		}
	})
}

func FuzzMaps(f *testing.F) {
	f.Add("00401000-00402000 r-xp 00001000 08:01 5 /usr/bin/a b\n7fff00000000-7fff00001000 r-xp 00000000 00:00 0    [vdso]\n",
		uint64(0x401234))
	f.Fuzz(func(t *testing.T, text string, address uint64) {
		maps, _, err := readMaps(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if m := find(maps, address); m != nil && (address < m.start || address >= m.limit) {
			t.Errorf("%#x is not in %+v", address, m)
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, name := range []string{"_ZN3std2io5stdio6_print17h0123456789abcdefE", "_RNvC6_123foo3bar",
		"_ZNSt6vectorIiSaIiEE9push_backERKi", "main"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got := plain(name); utf8.ValidString(name) && len(got) > len(name)+1<<(longestDemangled+1) {
			t.Errorf("%d bytes become %d", len(name), len(got))
		}
	})
}

func FuzzPacked(f *testing.F) {
	var packed bytes.Buffer
	w, err := xz.NewWriter(&packed)
	if err != nil {
		f.Fatal(err)
	}
	w.Write(small())
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	if got, err := unpack(packed.Bytes()); err != nil || !bytes.Equal(got, small()) {
		f.Fatalf("%d bytes, %v", len(got), err)
	}
	f.Add(packed.Bytes())
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = unpack(data) })
}

// Every byte of a real program, wrong by itself, and every place where it could have been cut.
func TestDamagedProgramsDoNoHarm(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Clean(self))
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range [][]byte{small(), whole[:min(len(whole), 1<<16)]} {
		step := max(1, len(content)/512)
		for i := 0; i < len(content); i += step {
			everything(t, content[:i])
			other := slices.Clone(content)
			other[i] ^= 0xff
			everything(t, other)
		}
	}
}
