package symbolise

import (
	"path"
	"strings"
)

// Frames names the functions at the addresses of a path, leaf first. Where functions were inlined an address gives several.
// The first address is looked up as it is, the others one below, for they are return addresses.
func (p *Process) Frames(addresses []uint64) []Frame {
	defer p.effort(threadTime())
	frames := make([]Frame, 0, len(addresses)+8)
	for i, address := range addresses {
		if i > 0 {
			address--
		}
		frames = p.append(frames, address)
	}
	return frames
}

func (p *Process) append(frames []Frame, address uint64) []Frame {
	m := p.mapping(address)
	if m == nil {
		f := Frame{Module: moduleNoCode, Address: address, Source: FromNothing}
		if name, ok := p.perfName(address); ok {
			f.Function, f.Source, f.Module = name, FromPerfMap, moduleJIT
		}
		return append(frames, f)
	}
	place := Frame{Address: address, MappingStart: m.start, MappingLimit: m.limit, MappingOffset: m.offset, Source: FromNothing}
	file, err := p.store.file(p, m)
	if file == nil {
		return append(frames, p.withoutFile(place, m, err))
	}
	place.Module, place.ModulePath, place.BuildID = moduleOf(m), m.path, file.buildID()
	at, ok := file.im.address(address - m.start + m.offset)
	if !ok {
		place.Why = errDamaged.Error()
		return append(frames, place)
	}
	place.Address = at
	for _, named := range file.name(at) {
		f := place
		f.Function, f.File, f.Line, f.Inlined, f.Source = named.Function, named.File, named.Line, named.Inlined, named.Source
		frames = append(frames, f)
	}
	return frames
}

func moduleOf(m *mapping) string {
	if !strings.HasPrefix(m.path, "/") {
		return m.path
	}
	return path.Base(m.name())
}

// withoutFile names code that is in no file, or in one that could not be read.
func (p *Process) withoutFile(place Frame, m *mapping, err error) Frame {
	if err != nil {
		place.Module, place.ModulePath, place.Why = moduleOf(m), m.path, err.Error()
		place.Address = place.Address - m.start + m.offset
		return place
	}
	place.Module = moduleJIT
	if m.path == "[vsyscall]" || m.path == "[uprobes]" {
		place.Module = m.path
	}
	if name, ok := p.perfName(place.Address); ok {
		place.Function, place.Source = name, FromPerfMap
	}
	return place
}

// name names the functions at an address of the file. What it finds is kept.
func (f *file) name(address uint64) []Frame {
	if known, ok := f.found[address]; ok {
		return known
	}
	named := f.lookUp(address)
	size := 64
	for _, one := range named {
		size += 256 + len(one.Function) + len(one.File)
	}
	f.keep(size)
	f.found[address] = named
	return named
}

func (f *file) lookUp(address uint64) []Frame {
	if t := f.pclntab(); t != nil {
		if function, ok := t.find(address); ok {
			return goFrames(function, address)
		}
	}
	var named []Frame
	if l := f.lines(); l != nil {
		named = l.frames(address)
	}
	if len(named) == 0 {
		named = []Frame{{Source: FromNothing}}
	}
	// The symbol is what people call: read, where DWARF has __GI___libc_read. Functions of assembly have nothing else.
	outer := &named[len(named)-1]
	if name, source, ok := f.symbols().find(address); ok {
		outer.Function, outer.Source = plain(name), source
	}
	return named
}

func goFrames(function *goFunction, address uint64) []Frame {
	var named []Frame
	for _, call := range function.calls(address) {
		named = append(named, Frame{Function: call.name, File: call.file, Line: call.line, Inlined: call.inlined, Source: FromPclntab})
	}
	return named
}
