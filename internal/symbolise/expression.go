package symbolise

// machine is what an expression may read.
type machine interface {
	register(number uint8) (uint64, bool)
	memory(address uint64) (uint64, bool)
}

// Bounds on an expression. Those of the PLT and of signal trampolines have up to 10 steps.
const (
	mostSteps = 256
	mostStack = 32
)

// expression is a stack machine (DWARF 5, 2.5), as far as unwind tables use it.
type expression struct {
	cursor
	machine
	stack []uint64
	// absent says that it has read what was not copied. failed says that it makes no sense.
	absent, failed bool
}

// evaluate runs an expression. Expressions of registers find the CFA on the stack.
func evaluate(code []byte, m machine, initial ...uint64) (value uint64, absent, ok bool) {
	e := &expression{cursor: cursor{data: code}, machine: m, stack: append(make([]uint64, 0, mostStack), initial...)}
	for steps := 0; e.more() && !e.failed && !e.absent; steps++ {
		if steps == mostSteps {
			return 0, false, false
		}
		e.step(e.u8())
	}
	if e.absent {
		return 0, true, false
	}
	if e.failed || e.bad || len(e.stack) == 0 {
		return 0, false, false
	}
	return e.stack[len(e.stack)-1], false, true
}

func (e *expression) push(value uint64) {
	if len(e.stack) == mostStack {
		e.failed = true
		return
	}
	e.stack = append(e.stack, value)
}

func (e *expression) pop() uint64 {
	if len(e.stack) == 0 {
		e.failed = true
		return 0
	}
	top := e.stack[len(e.stack)-1]
	e.stack = e.stack[:len(e.stack)-1]
	return top
}

// pick pushes a copy of an element, counted from the top.
func (e *expression) pick(depth int) {
	if depth >= len(e.stack) {
		e.failed = true
		return
	}
	e.push(e.stack[len(e.stack)-1-depth])
}

// Operations (DW_OP_*).
const (
	opDeref     = 0x06
	opDup       = 0x12
	opDrop      = 0x13
	opOver      = 0x14
	opPick      = 0x15
	opSwap      = 0x16
	opRot       = 0x17
	opAbs       = 0x19
	opAnd       = 0x1a
	opMinus     = 0x1c
	opMul       = 0x1e
	opNeg       = 0x1f
	opNot       = 0x20
	opOr        = 0x21
	opPlus      = 0x22
	opPlusConst = 0x23
	opShl       = 0x24
	opShr       = 0x25
	opShra      = 0x26
	opXor       = 0x27
	opBranch    = 0x28
	opEq        = 0x29
	opGe        = 0x2a
	opGt        = 0x2b
	opLe        = 0x2c
	opLt        = 0x2d
	opNe        = 0x2e
	opSkip      = 0x2f
	opLit0      = 0x30
	opLit31     = 0x4f
	opBreg0     = 0x70
	opBreg31    = 0x8f
	opBregx     = 0x92
	opDerefSize = 0x94
	opNop       = 0x96
)

func (e *expression) step(op uint8) {
	switch {
	case op >= opLit0 && op <= opLit31:
		e.push(uint64(op - opLit0))
	case op >= opBreg0 && op <= opBreg31:
		e.based(uint64(op - opBreg0))
	case op == opBregx:
		e.based(e.uleb())
	case e.constant(op) || e.shuffle(op) || e.jump(op) || e.unary(op):
	default:
		e.binary(op)
	}
}

// based pushes a register plus an offset.
func (e *expression) based(number uint64) {
	value, ok := e.register(uint8(min(number, 255)))
	e.absent = e.absent || !ok
	e.push(value + uint64(e.sleb()))
}

func (e *expression) constant(op uint8) bool {
	switch op {
	case 0x08:
		e.push(uint64(e.u8()))
	case 0x09:
		e.push(uint64(int64(int8(e.u8()))))
	case 0x0a:
		e.push(uint64(e.u16()))
	case 0x0b:
		e.push(uint64(int64(int16(e.u16()))))
	case 0x0c:
		e.push(uint64(e.u32()))
	case 0x0d:
		e.push(uint64(int64(int32(e.u32()))))
	case 0x0e, 0x0f:
		e.push(e.u64())
	case 0x10:
		e.push(e.uleb())
	case 0x11:
		e.push(uint64(e.sleb()))
	default:
		return false
	}
	return true
}

func (e *expression) shuffle(op uint8) bool {
	switch op {
	case opDup:
		e.pick(0)
	case opDrop:
		e.pop()
	case opOver:
		e.pick(1)
	case opPick:
		e.pick(int(e.u8()))
	case opSwap:
		a, b := e.pop(), e.pop()
		e.push(a)
		e.push(b)
	case opRot:
		a, b, c := e.pop(), e.pop(), e.pop()
		e.push(a)
		e.push(c)
		e.push(b)
	case opNop:
	default:
		return false
	}
	return true
}

func (e *expression) jump(op uint8) bool {
	if op != opSkip && op != opBranch {
		return false
	}
	distance := int(int16(e.u16()))
	if op == opBranch && e.pop() == 0 {
		return true
	}
	to := e.at + distance
	if to < 0 || to > len(e.data) {
		e.failed = true
		return true
	}
	e.at = to
	return true
}

func (e *expression) unary(op uint8) bool {
	switch op {
	case opDeref:
		e.load(8)
	case opDerefSize:
		e.load(e.u8())
	case opAbs:
		a := int64(e.pop())
		e.push(uint64(max(a, -a)))
	case opNeg:
		e.push(-e.pop())
	case opNot:
		e.push(^e.pop())
	case opPlusConst:
		e.push(e.pop() + e.uleb())
	default:
		return false
	}
	return true
}

func (e *expression) load(size uint8) {
	value, ok := e.memory(e.pop())
	e.absent = e.absent || !ok
	if size > 8 || size == 0 {
		e.failed = true
		return
	}
	e.push(value & (1<<(8*uint(size)-1)<<1 - 1))
}

func (e *expression) binary(op uint8) {
	b, a := e.pop(), e.pop()
	switch op {
	case opAnd:
		e.push(a & b)
	case opMinus:
		e.push(a - b)
	case opMul:
		e.push(a * b)
	case opOr:
		e.push(a | b)
	case opPlus:
		e.push(a + b)
	case opShl:
		e.push(a << min(b, 64))
	case opShr:
		e.push(a >> min(b, 64))
	case opShra:
		e.push(uint64(int64(a) >> min(b, 63)))
	case opXor:
		e.push(a ^ b)
	default:
		e.compare(op, int64(a), int64(b))
	}
}

func (e *expression) compare(op uint8, a, b int64) {
	is, known := map[uint8]bool{opEq: a == b, opGe: a >= b, opGt: a > b, opLe: a <= b, opLt: a < b, opNe: a != b}[op]
	e.failed = e.failed || !known
	if is {
		e.push(1)
	} else {
		e.push(0)
	}
}
