package symbolise

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// copied is how much of a stack the BPF program copies.
const copied = 16 << 10

// run starts a program that waits in a system call, and ends it with the test.
func run(t testing.TB, name string, args ...string) int {
	t.Helper()
	command := exec.Command(name, args...)
	command.Dir = t.TempDir() // node writes a file about itself to where it is
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Dir, command.Stderr = t.TempDir(), os.Stderr // node leaves a log where it runs
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
		input.Close()
	})
	return command.Process.Pid
}

// waitFor returns the thread of a process that waits in a system call with a first argument. -1: the
// first thread, with any.
func waitFor(t testing.TB, pid, number, first int) int {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		calls, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
		for _, call := range calls {
			text, _ := os.ReadFile(call)
			fields := strings.Fields(string(text))
			if len(fields) < 3 || fields[0] != strconv.Itoa(number) || first >= 0 && fields[1] != fmt.Sprintf("%#x", first) {
				continue
			}
			tid, err := strconv.Atoi(filepath.Base(filepath.Dir(call)))
			if err == nil && (first >= 0 || tid == pid) {
				return tid
			}
		}
	}
	t.Fatalf("no thread of process %d waits in system call %d", pid, number)
	return 0
}

// capture copies the registers and the stack of a thread that waits, as the BPF program does.
func capture(t testing.TB, pid, tid, size int) *Sample {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(tid); err != nil {
		t.Fatalf("trace thread %d: %v", tid, err)
	}
	defer unix.PtraceDetach(tid)
	if err := unix.PtraceInterrupt(tid); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(tid, &status, unix.WALL, nil); err != nil {
		t.Fatal(err)
	}
	s := &Sample{Registers: registersOf(t, tid)}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	s.Memory = make([]byte, size)
	n, err := memory.ReadAt(s.Memory, int64(stackPointer(s)))
	if n == 0 {
		t.Fatal(err)
	}
	s.Memory = s.Memory[:n]
	return s
}

// unwound unwinds a waiting thread, and checks what holds for all paths.
func unwound(t testing.TB, pid, tid int) (*Process, *Sample, Path) {
	t.Helper()
	return unwoundOf(t, pid, tid, copied)
}

func unwoundOf(t testing.TB, pid, tid, size int) (*Process, *Sample, Path) {
	t.Helper()
	store := NewStore(Options{})
	t.Cleanup(store.Close)
	p, err := store.Process(pid)
	if err != nil {
		t.Fatal(err)
	}
	s := capture(t, pid, tid, size)
	path := p.Unwind(s)
	checkPath(t, s, path)
	return p, s, path
}

// checkPath holds the slots against the memory and the addresses.
func checkPath(t testing.TB, s *Sample, path Path) {
	t.Helper()
	if len(path.Addresses) == 0 || len(path.Addresses) > MaxFrames || path.End == 0 {
		t.Fatalf("%d addresses, end %v", len(path.Addresses), path.End)
	}
	checkSlots(t, s, path)
	if runtime.GOARCH == "amd64" && len(path.Slots) != len(path.Addresses)-1 {
		t.Errorf("%d slots for %d addresses", len(path.Slots), len(path.Addresses))
	}
}

// checkSlots holds each slot against the memory.
func checkSlots(t testing.TB, s *Sample, path Path) {
	t.Helper()
	last := -1
	for i, slot := range path.Slots {
		if int(slot.Offset)+8 > len(s.Memory) || int(slot.Offset) <= last {
			t.Fatalf("slot %d is at %d, after %d, of %d", i, slot.Offset, last, len(s.Memory))
		}
		last = int(slot.Offset)
		if got := binary.LittleEndian.Uint64(s.Memory[slot.Offset:]); got != slot.Value {
			t.Errorf("slot %d has %#x, the memory %#x", i, slot.Value, got)
		}
	}
}

// show has a path as text, for messages.
func show(frames []Frame) string {
	var out strings.Builder
	for _, f := range frames {
		fmt.Fprintf(&out, "\n\t%s [%s, %s]", f, f.Source, f.Module)
		if f.Inlined {
			out.WriteString(" inlined")
		}
		if f.Why != "" {
			out.WriteString(" " + f.Why)
		}
	}
	return out.String()
}

// functions are the names of frames.
func functions(frames []Frame) []string {
	var names []string
	for _, f := range frames {
		names = append(names, f.Function)
	}
	return names
}

// build runs a compiler.
func build(t testing.TB, dir string, command ...string) {
	t.Helper()
	c := exec.Command(command[0], command[1:]...)
	c.Dir = dir
	var out bytes.Buffer
	c.Stdout, c.Stderr = io.Writer(&out), io.Writer(&out)
	if err := c.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out.String())
	}
}
