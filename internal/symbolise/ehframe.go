package symbolise

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
)

// Bounds on unwind tables. That of libjvm has 1.4 MB, of node 10 MB.
const (
	longestRecord = 1 << 16
	mostScanned   = 64 << 20 // of a table without an index
	mostIndexed   = 32 << 20 // of .eh_frame_hdr
	longestCIE    = 1 << 12
	mostCIEs      = 1 << 9
)

var errUnwindTable = errors.New("the unwind table is damaged")

// fde is the entry of one function.
type fde struct {
	cie         *cie
	begin, size uint64
	program     []byte
	base        uint64 // the address of the program
}

// unwindTable is .eh_frame or .debug_frame.
type unwindTable struct {
	im      *image
	debug   bool
	address uint64 // of its first byte
	offset  uint64 // in the file, of its first byte
	size    uint64
	held    []byte // its content, if it was compressed
	gotAt   uint64 // what datarel is relative to

	header  uint64 // the address of .eh_frame_hdr
	sorted  []byte // its binary search table: pairs of 4 bytes, relative to header
	scanned []scannedFDE
	cies    map[uint64]*cie
}

// scannedFDE is where the entry of a function begins in the table.
type scannedFDE struct{ begin, size, at uint64 }

// ehTable finds .eh_frame by the program header of its index, else by its section. Neither: nil.
func ehTable(im *image) (*unwindTable, error) {
	t := &unwindTable{im: im, cies: map[uint64]*cie{}, gotAt: im.dynamicValue(dtPLTGOT)}
	if im.ehHeader.fileSize > 0 && t.readIndex() {
		return t, nil
	}
	s := im.section(".eh_frame")
	if s == nil {
		return nil, nil
	}
	t.address, t.offset, t.size = s.address, s.offset, s.size
	return t, t.scan()
}

// debugTable is .debug_frame, which may be compressed.
func debugTable(im *image) (*unwindTable, error) {
	s := im.section(".debug_frame")
	if s == nil {
		return nil, nil
	}
	held, err := im.data(s, mostScanned)
	if err != nil {
		return nil, err
	}
	t := &unwindTable{im: im, debug: true, held: held, size: uint64(len(held)), cies: map[uint64]*cie{}}
	return t, t.scan()
}

// readIndex reads .eh_frame_hdr. It knows the one form of table that linkers write (datarel, sdata4).
func (t *unwindTable) readIndex() bool {
	h := t.im.ehHeader
	head := t.im.prefix(h.offset, min(h.fileSize, 64))
	if len(head) < 4 || head[0] != 1 || head[3] != 0x3b {
		return false
	}
	c := &cursor{data: head, at: 4}
	b := &bases{start: h.address, data: h.address, deref: t.im.word}
	t.address = c.pointer(head[1], b)
	count := c.pointer(head[2], b)
	start := uint64(c.at)
	if c.bad || count == 0 || h.fileSize < start || count > (h.fileSize-start)/8 || count > mostIndexed/8 {
		return false
	}
	var ok bool
	if t.offset, t.size, ok = t.im.offset(t.address); !ok {
		return false
	}
	sorted, err := t.im.bytes(h.offset+start, count*8)
	t.header, t.sorted = h.address, sorted
	return err == nil
}

// indexed returns the addresses in the index: where function i begins, and where its entry is.
func (t *unwindTable) indexed(i int) (begin, entry uint64) {
	at := t.sorted[i*8:]
	return t.header + uint64(int64(int32(binary.LittleEndian.Uint32(at)))),
		t.header + uint64(int64(int32(binary.LittleEndian.Uint32(at[4:]))))
}

// find returns the entry of the function at an address. Nil without an error: there is none.
func (t *unwindTable) find(address uint64) (*fde, error) {
	var at uint64
	if t.sorted != nil {
		i := sort.Search(len(t.sorted)/8, func(i int) bool { begin, _ := t.indexed(i); return begin > address }) - 1
		if i < 0 {
			return nil, nil
		}
		_, entry := t.indexed(i)
		if entry < t.address || entry-t.address >= t.size {
			return nil, errUnwindTable
		}
		at = entry - t.address
	} else {
		i := sort.Search(len(t.scanned), func(i int) bool { return t.scanned[i].begin > address }) - 1
		if i < 0 || address-t.scanned[i].begin >= t.scanned[i].size {
			return nil, nil
		}
		at = t.scanned[i].at
	}
	r, err := t.record(at)
	if err != nil || r == nil || r.isCIE {
		return nil, errUnwindTable
	}
	f, err := t.parseFDE(r)
	if err != nil || address < f.begin || address-f.begin >= f.size {
		return nil, err
	}
	return f, nil
}

// record is a CIE or an FDE: its content behind the length and the identification.
type record struct {
	at      uint64 // where it begins
	isCIE   bool
	cieAt   uint64 // of an FDE
	content cursor
	base    uint64 // the address of content.data
	next    uint64 // where the following record begins
}

// slice is some of the table.
func (t *unwindTable) slice(at, size uint64) ([]byte, error) {
	if at > t.size || size > t.size-at {
		return nil, errUnwindTable
	}
	if t.held != nil {
		return t.held[at : at+size], nil
	}
	return t.im.bytes(t.offset+at, size)
}

// record reads the one that begins at an offset. Nil without an error: the table ends here.
func (t *unwindTable) record(at uint64) (*record, error) {
	head, err := t.slice(at, min(t.size-min(at, t.size), 20))
	if err != nil {
		return nil, err
	}
	c := &cursor{data: head}
	length, idSize := uint64(c.u32()), 4
	if length == math.MaxUint32 {
		length = c.u64()
		if t.debug {
			idSize = 8
		}
	}
	if length == 0 && !c.bad {
		return nil, nil
	}
	begin := at + uint64(c.at)
	if c.bad || length < uint64(idSize) || length > longestRecord || length > t.size-begin {
		return nil, errUnwindTable
	}
	data, err := t.slice(begin, length)
	if err != nil {
		return nil, err
	}
	r := &record{at: at, content: cursor{data: data}, base: t.address + begin, next: begin + length}
	id := uint64(r.content.u32())
	if idSize == 8 {
		id |= uint64(r.content.u32()) << 32
	}
	if !t.debug {
		r.isCIE, r.cieAt = id == 0, begin-id
		return r, nil
	}
	r.isCIE, r.cieAt = id == math.MaxUint32 && idSize == 4 || id == math.MaxUint64, id
	return r, nil
}

// parseFDE reads the head of an FDE.
func (t *unwindTable) parseFDE(r *record) (*fde, error) {
	shared, err := t.cie(r.cieAt)
	if err != nil {
		return nil, err
	}
	c := r.content
	b := &bases{start: r.base, data: t.gotAt, deref: t.im.word}
	f := &fde{cie: shared, begin: c.pointer(shared.encoding, b), size: c.number(shared.encoding)}
	if shared.augmented {
		c.take(int(min(c.uleb(), longestRecord)))
	}
	if c.bad {
		return nil, errUnwindTable
	}
	f.program, f.base = c.data[c.at:], r.base+uint64(c.at)
	return f, nil
}

// scan finds all entries of a table that has no index.
func (t *unwindTable) scan() error {
	if t.size > mostScanned {
		return fmt.Errorf("an unwind table without an index has %d MiB: %w", t.size>>20, errTooLarge)
	}
	whole, err := t.slice(0, t.size)
	if err != nil {
		return err
	}
	kept := t.held
	t.held = whole
	for at := uint64(0); at < t.size; {
		r, err := t.record(at)
		if err != nil || r == nil {
			break
		}
		at = r.next
		if r.isCIE {
			continue
		}
		if f, err := t.parseFDE(r); err == nil && f.size > 0 && f.begin > 0 {
			t.scanned = append(t.scanned, scannedFDE{f.begin, f.size, r.at})
		}
	}
	t.held = kept
	slices.SortStableFunc(t.scanned, func(a, b scannedFDE) int {
		switch {
		case a.begin < b.begin:
			return -1
		case a.begin > b.begin:
			return 1
		}
		return 0
	})
	return nil
}
