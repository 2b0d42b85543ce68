package symbolise

import "encoding/binary"

// cursor takes numbers from bytes that may end at any place. After the end all numbers are 0, and bad is set.
type cursor struct {
	data []byte
	at   int
	bad  bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.data)-c.at {
		c.bad = true
		c.at = len(c.data)
		return nil
	}
	c.at += n
	return c.data[c.at-n : c.at]
}

func (c *cursor) more() bool { return !c.bad && c.at < len(c.data) }

func (c *cursor) u8() uint8 {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if b := c.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// uleb and sleb are the LEB128 numbers of DWARF. Of longer ones than 64 bits the low bits are kept.
func (c *cursor) uleb() uint64 {
	var value uint64
	for shift := uint(0); ; shift += 7 {
		b := c.u8()
		if shift < 64 {
			value |= uint64(b&0x7f) << shift
		}
		if b&0x80 == 0 {
			return value
		}
	}
}

func (c *cursor) sleb() int64 {
	var value int64
	for shift := uint(0); ; {
		b := c.u8()
		if shift < 64 {
			value |= int64(b&0x7f) << shift
		}
		shift += 7
		if b&0x80 == 0 {
			if b&0x40 != 0 && shift < 64 {
				value |= -1 << shift
			}
			return value
		}
	}
}

// cString takes bytes up to a zero byte.
func (c *cursor) cString() string {
	for end := c.at; end < len(c.data); end++ {
		if c.data[end] == 0 {
			found := string(c.data[c.at:end])
			c.at = end + 1
			return found
		}
	}
	c.bad, c.at = true, len(c.data)
	return ""
}

// Encodings of pointers in .eh_frame (DW_EH_PE_*): the low half is the format, then what it is relative to.
const (
	peOmit     = 0xff
	peIndirect = 0x80
	peFormat   = 0x0f
	peRelative = 0x70
	peAbsolute = 0x00
	pePC       = 0x10
	peData     = 0x30
)

// bases are what encoded pointers are relative to: start is the address of the cursor's data.
type bases struct {
	start, data uint64
	deref       func(address uint64) (uint64, bool)
}

// pointer takes an encoded pointer.
func (c *cursor) pointer(encoding uint8, b *bases) uint64 {
	at := b.start + uint64(c.at)
	value := c.number(encoding)
	if c.bad || value == 0 && encoding&peIndirect != 0 {
		return 0
	}
	switch encoding & peRelative {
	case peAbsolute:
	case pePC:
		value += at
	case peData:
		value += b.data
	default:
		c.bad = true
	}
	if encoding&peIndirect != 0 {
		ok := false
		if b.deref != nil {
			value, ok = b.deref(value)
		}
		c.bad = c.bad || !ok
	}
	return value
}

// number takes the number of an encoded pointer.
func (c *cursor) number(encoding uint8) uint64 {
	switch encoding & peFormat {
	case 0x00, 0x04, 0x0c:
		return c.u64()
	case 0x01:
		return c.uleb()
	case 0x02:
		return uint64(c.u16())
	case 0x03:
		return uint64(c.u32())
	case 0x09:
		return uint64(c.sleb())
	case 0x0a:
		return uint64(int64(int16(c.u16())))
	case 0x0b:
		return uint64(int64(int32(c.u32())))
	}
	c.bad = true
	return 0
}
