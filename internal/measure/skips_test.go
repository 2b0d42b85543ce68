package measure

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// skips measures how many hits of a tracepoint have reached no BPF program, and are in no count of misses. Linux 6.18 leaves out
// the programs of all tracers at times, in a softirq of a busy host, for a batch of packets (measured: perf counted 42 hits
// that the least of programs did not see; those were the 42 closes that the traces of this package's tests lacked). It is a count of
// the host's: perf counts each hit, and a program that only counts what gets to it.
type skips struct {
	perf    []int // fds, one a CPU
	program *ebpf.Program
	count   *ebpf.Map
	link    link.Link
}

func newSkips(t *testing.T, group, name string) *skips {
	t.Helper()
	s := &skips{}
	t.Cleanup(func() {
		for _, fd := range s.perf {
			unix.Close(fd)
		}
		for _, c := range []interface{ Close() error }{s.link, s.program, s.count} {
			_ = c.Close()
		}
	})
	var err error
	if s.count, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}); err != nil {
		t.Fatal(err)
	}
	if s.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.RawTracepoint, License: "GPL", Instructions: asm.Instructions{
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, s.count.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	}}); err != nil {
		t.Fatal(err)
	}
	if s.link, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: name, Program: s.program}); err != nil {
		t.Fatal(err)
	}
	id := tracepointID(t, group, name)
	for cpu := range runtime.NumCPU() {
		fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: id,
			Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		s.perf = append(s.perf, fd)
	}
	return s
}

// n is at most what was skipped since the beginning: perf begins later and is read first.
func (s *skips) n(t *testing.T) int {
	t.Helper()
	var hits, seen uint64
	for _, fd := range s.perf {
		b := make([]byte, 8)
		if _, err := unix.Read(fd, b); err != nil {
			t.Fatal(err)
		}
		hits += binary.NativeEndian.Uint64(b)
	}
	stats, err := s.program.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.count.Lookup(uint32(0), &seen); err != nil {
		t.Fatal(err)
	}
	return max(0, int(hits)-int(seen)-int(stats.RecursionMisses))
}

// tracepointID reads it from a tracefs of the test's own: not every host has one mounted.
func tracepointID(t *testing.T, group, name string) uint64 {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tracefs", dir, "tracefs", 0, ""); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "events", group, name, "id"))
	if err2 := unix.Unmount(dir, unix.MNT_DETACH); err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
