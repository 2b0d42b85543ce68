package sockfilter

import (
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// pair is two sockets, of which the first receives what the second sends.
func pair(t *testing.T) (to, from int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(fds[0]), unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func TestTheSocketGetsWhatTheLastProgramLetsThrough(t *testing.T) {
	to, from := pair(t)
	only := func(first uint32) []bpf.Instruction {
		return []bpf.Instruction{bpf.LoadAbsolute{Off: 0, Size: 1}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: first, SkipFalse: 1},
			bpf.RetConstant{Val: 1500}, bpf.RetConstant{Val: 0}}
	}
	for _, wanted := range []string{"a", "b"} {
		if err := Attach(to, only(uint32(wanted[0]))); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"a", "b", "c"} {
			if err := unix.Send(from, []byte(text), 0); err != nil && err != unix.EPERM { // how a Unix socket says that it is refused
				t.Fatal(err)
			}
		}
		b := make([]byte, 10)
		n, err := unix.Read(to, b)
		if err != nil || string(b[:n]) != wanted {
			t.Errorf("got %q, %v; want %q", b[:max(n, 0)], err, wanted)
		}
		if n, err := unix.Read(to, b); err != unix.EAGAIN {
			t.Errorf("then %q, %v; want nothing more", b[:max(n, 0)], err)
		}
	}
}

func TestWhatCannotBeAssembledOrIsRefusedIsAnError(t *testing.T) {
	to, _ := pair(t)
	if err := Attach(to, []bpf.Instruction{bpf.LoadScratch{Dst: bpf.RegA, N: 16}}); err == nil ||
		!strings.Contains(err.Error(), "assemble a socket filter of 1 instructions") {
		t.Errorf("a place that there is not: %v", err)
	}
	if err := Attach(to, []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegA}}); err != unix.EINVAL {
		t.Errorf("a program without a verdict: %v", err)
	}
}
