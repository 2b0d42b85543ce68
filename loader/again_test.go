package loader

import (
	"errors"
	"io"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// lastOnly is an iterator's program that passes over all elements of an array but the last, for which it writes a record of
// zeros. It is the shortest that filters: the context is struct bpf_iter__bpf_map_elem, of four pointers.
func lastOnly(last int32) asm.Instructions {
	program := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 16, asm.DWord), // key
		asm.JEq.Imm(asm.R2, 0, "out"),
		asm.LoadMem(asm.R3, asm.R2, 0, asm.Word),
		asm.JNE.Imm(asm.R3, last, "out"),
		asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord), // meta
		asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord), // meta->seq
		asm.Mov.Imm(asm.R4, 0),
	}
	for at := -recordBytes; at < 0; at += 8 {
		program = append(program, asm.StoreMem(asm.RFP, int16(at), asm.R4, asm.DWord))
	}
	return append(program,
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(-recordBytes)), asm.Mov.Imm(asm.R3, int32(recordBytes)),
		asm.FnSeqWrite.Call(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return())
}

// What a walk passes over in silence must not end it: after a million elements the kernel says EAGAIN.
func TestAWalkThatFiltersIsReadOn(t *testing.T) {
	const million = 1_000_000
	r := &countsAgain{}
	if records, ok := silentIterator(t, 2*million+million/2); ok {
		defer records.Close()
		r.Reader = records
	} else {
		r.Reader = &silent{times: 2, then: make([]byte, recordBytes)}
	}
	found := 0
	if err := readRecords(r, recordBytes, false, func([]byte) error { found++; return nil }); err != nil {
		t.Fatal(err)
	}
	if found != 1 || r.again != 2 {
		t.Errorf("%d records, and EAGAIN %d times, want 1 and twice", found, r.again)
	}
}

// silentIterator iterates over an array and writes a record for its last element only. Where the host's policy refuses
// iterators over maps, as lockdown can, it is false.
func silentIterator(t *testing.T, elements uint32) (io.ReadCloser, bool) {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.Tracing, AttachType: ebpf.AttachTraceIter,
		AttachTo: "bpf_map_elem", License: "GPL", Instructions: lastOnly(int32(elements) - 1)})
	if errors.Is(err, unix.EPERM) {
		t.Logf("this host refuses iterators over maps: %v", err)
		return nil, false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	if err := rlimit.RemoveMemlock(); err != nil { // kernels before 5.11 charge maps to it
		t.Fatal(err)
	}
	array, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 1, MaxEntries: elements})
	if err != nil {
		t.Fatal(err)
	}
	defer array.Close()
	iter, err := link.AttachIter(link.IterOptions{Program: prog, Map: array})
	if err != nil {
		t.Fatal(err)
	}
	defer iter.Close()
	records, err := iter.Open()
	if err != nil {
		t.Fatal(err)
	}
	return records, true
}

// silent says EAGAIN some times before it gives what it has.
type silent struct {
	times int
	then  []byte
}

func (s *silent) Read(b []byte) (int, error) {
	if s.times > 0 {
		s.times--
		return 0, unix.EAGAIN
	}
	n := copy(b, s.then)
	s.then = s.then[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// countsAgain counts how often a reader says EAGAIN.
type countsAgain struct {
	io.Reader
	again int
}

func (r *countsAgain) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if errors.Is(err, unix.EAGAIN) {
		r.again++
	}
	return n, err
}
