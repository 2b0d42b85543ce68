package symbolise

import "fmt"

// cie is what the entries of many functions have in common.
type cie struct {
	codeAlign uint64
	dataAlign int64
	ra        uint8
	encoding  uint8 // of the addresses of FDEs
	augmented bool  // FDEs have data of their own before the instructions
	signal    bool
	program   []byte
}

// cie reads the CIE at an offset, once.
func (t *unwindTable) cie(at uint64) (*cie, error) {
	if known := t.cies[at]; known != nil {
		return known, nil
	}
	r, err := t.record(at)
	if err != nil {
		return nil, err
	}
	if r == nil || !r.isCIE || len(r.content.data) > longestCIE {
		return nil, errUnwindTable
	}
	parsed, err := parseCIE(r.content, &bases{start: r.base, data: t.gotAt})
	if err != nil {
		return nil, err
	}
	if len(t.cies) == mostCIEs {
		clear(t.cies)
	}
	t.cies[at] = parsed
	return parsed, nil
}

// parseCIE takes a CIE behind its identification (LSB 5.0 Core, 10.6.1.1.1; DWARF 5, 6.4.1).
func parseCIE(c cursor, b *bases) (*cie, error) {
	parsed := &cie{}
	version := c.u8()
	augmentation := c.cString()
	if version != 1 && version != 3 && version != 4 {
		return nil, fmt.Errorf("version %d: %w", version, errUnwindTable)
	}
	if augmentation == "eh" { // gcc 2
		c.u64()
		augmentation = ""
	}
	if version == 4 {
		if size, segment := c.u8(), c.u8(); size != 8 || segment != 0 {
			return nil, errUnwindTable
		}
	}
	parsed.codeAlign, parsed.dataAlign = c.uleb(), c.sleb()
	if version == 1 {
		parsed.ra = c.u8()
	} else {
		parsed.ra = uint8(min(c.uleb(), 255))
	}
	if !parsed.augment(augmentation, &c, b) || c.bad || int(parsed.ra) >= registersKept {
		return nil, errUnwindTable
	}
	parsed.program = c.data[c.at:]
	return parsed, nil
}

// augment reads what the letters of the augmentation stand for.
func (parsed *cie) augment(letters string, c *cursor, b *bases) bool {
	if letters == "" {
		return true
	}
	if letters[0] != 'z' {
		return false
	}
	parsed.augmented = true
	size := int(min(c.uleb(), longestRecord))
	end := c.at + size
	for _, letter := range letters[1:] {
		switch letter {
		case 'R':
			parsed.encoding = c.u8()
		case 'L':
			c.u8()
		case 'P':
			c.pointer(c.u8()&^peIndirect, b)
		case 'S':
			parsed.signal = true
		case 'B', 'G': // arm64: signed with key B, and tagged memory. Neither moves an address
		default:
			return false
		}
	}
	if c.bad || c.at > end || end > len(c.data) {
		return false
	}
	c.at = end
	return true
}
