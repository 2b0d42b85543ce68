package symbolise

import "encoding/binary"

// Where runtime.moduledata has what is needed, in words. The first word leads to the table of functions.
const (
	moduleNames     = 1
	moduleText      = 22
	moduleGofunc118 = 38
	moduleGofunc    = 40 // since Go 1.20, which added the two bounds of coverage counters
	moduleWords     = moduleGofunc + 1
)

// locate finds what the table is relative to. Since Go 1.26 the table does not say where the text begins, and in programs that
// are linked with C it is not where the section begins.
func (t *pclntab) locate() {
	if text := t.im.section(".text"); text != nil {
		t.text = text.address
	}
	words, ok := t.moduledata()
	if !ok {
		return
	}
	t.text = words[moduleText]
	switch t.form {
	case pclntab118:
		t.gofunc = words[moduleGofunc118]
	case pclntab120:
		t.gofunc = words[moduleGofunc]
	}
}

// moduledata finds the runtime's description of the program. It has a section of its own since Go 1.26. Before that it is
// where the data leads to the table of functions.
func (t *pclntab) moduledata() ([]uint64, bool) {
	if s := t.im.section(".go.module"); s != nil {
		if words, ok := t.module(s.address); ok {
			return words, true
		}
	}
	if words, ok := t.moduleInData(); ok {
		return words, true
	}
	var words []uint64
	found := false
	t.im.eachRelative(func(where, value uint64) bool {
		if value == t.address {
			words, found = t.module(where)
		}
		return !found && t.candidates <= mostCandidates
	})
	return words, found
}

// mostCandidates is how many places are looked at that lead to the table. There is one.
const mostCandidates = 16

// module reads moduledata at an address, if it is there.
func (t *pclntab) module(at uint64) ([]uint64, bool) {
	if t.candidates++; t.candidates > mostCandidates {
		return nil, false
	}
	words, ok := t.im.words(at, moduleWords)
	return words, ok && words[0] == t.address && words[moduleNames] == t.address+t.names
}

// mostData bounds the search.
const mostData = 64 << 20

func (t *pclntab) moduleInData() ([]uint64, bool) {
	const chunk = 64 << 10
	for _, name := range []string{".noptrdata", ".data", ".data.rel.ro"} {
		s := t.im.section(name)
		if s == nil {
			continue
		}
		for at := uint64(0); at < min(s.size, mostData); at += chunk {
			read := t.im.prefix(s.offset+at, min(chunk, s.size-at))
			for i := 0; i+8 <= len(read); i += 8 {
				if binary.LittleEndian.Uint64(read[i:]) != t.address {
					continue
				}
				if words, ok := t.module(s.address + at + uint64(i)); ok {
					return words, true
				}
			}
		}
	}
	return nil, false
}
