package symbolise

// byRow goes on as an unwind table says.
func (u *unwinder) byRow(r *row) End {
	cfa, end := u.cfa(r)
	if end != 0 {
		return end
	}
	next, known, lost := u.registers, u.known|1<<u.sp, u.lost&^(1<<u.sp)
	next[u.sp] = cfa
	var at uint64 // where the return address lies; 0: in a register
	for i := range r.rules {
		rule := &r.rules[i]
		value, from, ok, sane := u.apply(&rule.rule, cfa)
		if !sane {
			return BadInformation
		}
		next[rule.number] = value
		known, lost = known&^(1<<rule.number), lost&^(1<<rule.number)
		switch {
		case ok:
			known |= 1 << rule.number
		case rule.kind == undefined:
			lost |= 1 << rule.number
		}
		if rule.number == r.ra {
			at = from
		}
	}
	if known>>r.ra&1 == 0 {
		return PastCopy
	}
	if at == 0 && u.link == 0 && r.ra == u.pc && next[u.pc] == u.registers[u.pc] {
		return BadInformation
	}
	before := u.registers[u.sp]
	returnTo := next[r.ra]
	u.registers, u.known, u.lost = next, known, lost
	return u.arrive(returnTo, at, before, r.signal)
}

// missing says why a register has no value.
func (u *unwinder) missing(number uint8) End {
	switch {
	case int(number) >= registersKept:
		return BadInformation
	case u.lost>>number&1 != 0:
		return NoInformation
	}
	return PastCopy
}

// cfa is the stack pointer that the caller had.
func (u *unwinder) cfa(r *row) (uint64, End) {
	if r.cfa.kind == inRegister {
		base, ok := u.register(r.cfa.register)
		if !ok {
			return 0, u.missing(r.cfa.register)
		}
		return base + uint64(r.cfa.offset), 0
	}
	cfa, absent, ok := evaluate(r.cfa.expression, u)
	if absent {
		return 0, PastCopy
	}
	if !ok {
		return 0, BadInformation
	}
	return cfa, 0
}

// apply finds the value that a register had in the caller, and where in memory it was. Not known: it was not copied, or it
// is lost. Not sane: the rule makes no sense.
func (u *unwinder) apply(r *rule, cfa uint64) (value, from uint64, known, sane bool) {
	switch r.kind {
	case undefined:
		return 0, 0, false, true
	case atOffset:
		from = cfa + uint64(r.offset)
		value, known = u.memory(from)
		return value, from, known, true
	case valueOffset:
		return cfa + uint64(r.offset), 0, true, true
	case inRegister:
		value, known = u.register(r.register)
		return value, 0, known, int(r.register) < registersKept
	}
	result, absent, ok := evaluate(r.expression, u, cfa)
	if absent || !ok {
		return 0, 0, false, absent
	}
	if r.kind == valExpression {
		return result, 0, true, true
	}
	value, known = u.memory(result)
	return value, result, known, true
}

// isLikely tells whether a row that was read from code leads to a return address.
func (u *unwinder) isLikely(r *row) bool {
	cfa, end := u.cfa(r)
	if end != 0 {
		return end == PastCopy
	}
	returnTo, ok := u.memory(cfa - 8)
	if !ok {
		return cfa > u.registers[u.sp] && cfa-u.registers[u.sp] < farAway
	}
	m := u.process.mapping(returnTo - 1)
	if m == nil {
		return false
	}
	f, _ := u.process.store.file(u.process, m)
	if f == nil {
		return false
	}
	at, ok := f.im.address(returnTo - m.start + m.offset)
	return ok && f.followsCall(at)
}
