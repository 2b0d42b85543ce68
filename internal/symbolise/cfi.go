package symbolise

import "bytes"

// How a register of the caller is found (DWARF 5, 6.4.1).
type ruleKind uint8

const (
	sameValue     ruleKind = iota // also where nothing is said
	undefined                     // it is lost. Of the return address: there is no caller
	atOffset                      // in memory at CFA + offset
	valueOffset                   // CFA + offset
	inRegister                    // in another register
	atExpression                  // in memory at what an expression gives
	valExpression                 // what an expression gives
)

// rule is how to find one register. Of the CFA it is inRegister (plus offset) or valExpression.
type rule struct {
	kind       ruleKind
	register   uint8
	offset     int64
	expression []byte
}

// numberedRule is the rule of a register.
type numberedRule struct {
	number uint8
	rule
}

// row is how to get from a function's frame to its caller's at one address.
type row struct {
	cfa     rule
	rules   []numberedRule // without those of the same value
	ra      uint8          // the column of the return address
	signal  bool           // the caller was interrupted, and did not call
	guessed bool           // it was read from code, and is right only if the return address follows a call
	signed  bool           // arm64: the return address is signed
}

// registersKept are the DWARF numbers that are followed; others, such as vector registers, nobody needs.
const registersKept = len(Registers{})

// mostRemembered bounds DW_CFA_remember_state. Compilers nest it once.
const mostRemembered = 16

// state is the row while instructions change it.
type state struct {
	cfa    rule
	rules  [registersKept]rule
	signed bool
}

// execution runs the instructions of a CIE and of an FDE up to an address.
type execution struct {
	cie      *cie
	state    state
	initial  *state
	stack    []state
	location uint64 // of the row that is made
	target   uint64
	base     uint64 // the address of the instructions
}

// rowAt makes the row of an address within an FDE.
func (f *fde) rowAt(address uint64) (*row, bool) {
	e := &execution{cie: f.cie, location: f.begin, target: address}
	if !e.run(f.cie.program) {
		return nil, false
	}
	initial := e.state
	e.initial, e.location, e.base = &initial, f.begin, f.base
	if !e.run(f.program) {
		return nil, false
	}
	r := &row{cfa: e.state.cfa, ra: f.cie.ra, signal: f.cie.signal, signed: e.state.signed}
	r.cfa.expression = bytes.Clone(r.cfa.expression)
	for number, rule := range e.state.rules {
		if rule.kind != sameValue {
			rule.expression = bytes.Clone(rule.expression)
			r.rules = append(r.rules, numberedRule{uint8(number), rule})
		}
	}
	return r, r.cfa.kind == inRegister || r.cfa.kind == valExpression
}

// Instructions (DW_CFA_*). Of the first three the low 6 bits are an operand.
const (
	cfaAdvance       = 0x40
	cfaOffset        = 0x80
	cfaRestore       = 0xc0
	cfaHighBits      = 0xc0
	cfaNop           = 0x00
	cfaSetLoc        = 0x01
	cfaAdvance1      = 0x02
	cfaAdvance2      = 0x03
	cfaAdvance4      = 0x04
	cfaOffsetExt     = 0x05
	cfaRestoreExt    = 0x06
	cfaUndefined     = 0x07
	cfaSameValue     = 0x08
	cfaRegister      = 0x09
	cfaRemember      = 0x0a
	cfaRestoreState  = 0x0b
	cfaDef           = 0x0c
	cfaDefRegister   = 0x0d
	cfaDefOffset     = 0x0e
	cfaDefExpression = 0x0f
	cfaExpression    = 0x10
	cfaOffsetSF      = 0x11
	cfaDefSF         = 0x12
	cfaDefOffsetSF   = 0x13
	cfaValOffset     = 0x14
	cfaValOffsetSF   = 0x15
	cfaValExpression = 0x16
	cfaNegateRAPC    = 0x2c // DW_CFA_AARCH64_negate_ra_state_with_pc
	cfaNegateRA      = 0x2d // DW_CFA_AARCH64_negate_ra_state, on SPARC DW_CFA_GNU_window_save
	cfaGNUArgsSize   = 0x2e
	cfaGNUNegOffset  = 0x2f
)

// run executes instructions until the location is past the target. It says whether they were all understood.
func (e *execution) run(program []byte) bool {
	c := &cursor{data: program}
	for c.more() && e.location <= e.target {
		op := c.u8()
		low := uint64(op &^ cfaHighBits)
		ok := true
		switch op & cfaHighBits {
		case cfaAdvance:
			e.advance(low)
		case cfaOffset:
			e.set(low, rule{kind: atOffset, offset: e.data(c)})
		case cfaRestore:
			e.restore(low)
		default:
			ok = e.locate(op, c) || e.define(op, c) || e.register(op, c) || e.rest(op, c)
		}
		if !ok || c.bad {
			return false
		}
	}
	return true
}

// data takes an unsigned operand in units of the data alignment.
func (e *execution) data(c *cursor) int64 { return int64(c.uleb()) * e.cie.dataAlign }

// advance moves the location. One that would wrap around is past every target.
func (e *execution) advance(delta uint64) {
	moved := e.location + delta*e.cie.codeAlign
	if moved < e.location {
		moved = 1<<64 - 1
	}
	e.location = moved
}

func (e *execution) set(number uint64, r rule) {
	if number < uint64(registersKept) {
		e.state.rules[number] = r
	}
}

func (e *execution) restore(number uint64) {
	if number < uint64(registersKept) && e.initial != nil {
		e.state.rules[number] = e.initial.rules[number]
	}
}

// locate executes the instructions that move the location.
func (e *execution) locate(op uint8, c *cursor) bool {
	switch op {
	case cfaSetLoc:
		e.location = c.pointer(e.cie.encoding&^peIndirect, &bases{start: e.base})
	case cfaAdvance1:
		e.advance(uint64(c.u8()))
	case cfaAdvance2:
		e.advance(uint64(c.u16()))
	case cfaAdvance4:
		e.advance(uint64(c.u32()))
	default:
		return false
	}
	return true
}

// define executes the instructions that define the CFA.
func (e *execution) define(op uint8, c *cursor) bool {
	cfa := &e.state.cfa
	switch op {
	case cfaDef, cfaDefSF:
		register := c.uleb()
		*cfa = rule{kind: inRegister, register: uint8(min(register, 255))}
		cfa.offset = e.plain(op == cfaDefSF, c)
	case cfaDefRegister:
		cfa.kind, cfa.register, cfa.expression = inRegister, uint8(min(c.uleb(), 255)), nil
	case cfaDefOffset, cfaDefOffsetSF:
		cfa.offset = e.plain(op == cfaDefOffsetSF, c)
	case cfaDefExpression:
		*cfa = rule{kind: valExpression, expression: block(c)}
	default:
		return false
	}
	return true
}

// plain takes an offset that is factored only if it is signed.
func (e *execution) plain(factored bool, c *cursor) int64 {
	if factored {
		return c.sleb() * e.cie.dataAlign
	}
	return int64(c.uleb())
}

// longestBlock bounds an expression. That of a PLT has 11 bytes.
const longestBlock = 128

func block(c *cursor) []byte {
	size := c.uleb()
	c.bad = c.bad || size > longestBlock
	return c.take(int(min(size, longestBlock)))
}

// register executes the instructions that say how a register is found.
func (e *execution) register(op uint8, c *cursor) bool {
	switch op {
	case cfaOffsetExt, cfaRestoreExt, cfaUndefined, cfaSameValue, cfaRegister, cfaExpression, cfaOffsetSF, cfaValOffset,
		cfaValOffsetSF, cfaValExpression, cfaGNUNegOffset:
	default:
		return false
	}
	number := c.uleb()
	switch op {
	case cfaOffsetExt:
		e.set(number, rule{kind: atOffset, offset: e.data(c)})
	case cfaOffsetSF:
		e.set(number, rule{kind: atOffset, offset: c.sleb() * e.cie.dataAlign})
	case cfaGNUNegOffset:
		e.set(number, rule{kind: atOffset, offset: -e.data(c)})
	case cfaValOffset:
		e.set(number, rule{kind: valueOffset, offset: e.data(c)})
	case cfaValOffsetSF:
		e.set(number, rule{kind: valueOffset, offset: c.sleb() * e.cie.dataAlign})
	case cfaRestoreExt:
		e.restore(number)
	case cfaUndefined:
		e.set(number, rule{kind: undefined})
	case cfaSameValue:
		e.set(number, rule{})
	case cfaRegister:
		e.set(number, rule{kind: inRegister, register: uint8(min(c.uleb(), 255))})
	case cfaExpression:
		e.set(number, rule{kind: atExpression, expression: block(c)})
	case cfaValExpression:
		e.set(number, rule{kind: valExpression, expression: block(c)})
	}
	return true
}

// rest executes what is left.
func (e *execution) rest(op uint8, c *cursor) bool {
	switch op {
	case cfaNop:
	case cfaGNUArgsSize:
		c.uleb()
	case cfaNegateRA:
		e.state.signed = !e.state.signed
	case cfaNegateRAPC:
		e.state.signed = !e.state.signed
	case cfaRemember:
		if len(e.stack) == mostRemembered {
			return false
		}
		e.stack = append(e.stack, e.state)
	case cfaRestoreState:
		if len(e.stack) == 0 {
			return false
		}
		e.state = e.stack[len(e.stack)-1]
		e.stack = e.stack[:len(e.stack)-1]
	default:
		return false
	}
	return true
}
