package symbolise

import (
	"testing"

	"golang.org/x/sys/unix"
)

func registersOf(t testing.TB, tid int) Registers {
	t.Helper()
	var r unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &r); err != nil {
		t.Fatal(err)
	}
	return Registers{r.Rax, r.Rdx, r.Rcx, r.Rbx, r.Rsi, r.Rdi, r.Rbp, r.Rsp,
		r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15, r.Rip}
}

func stackPointer(s *Sample) uint64 { return s.Registers[amd64.sp] }

// epollWait is the system call of the C library's epoll_wait.
const epollWait = unix.SYS_EPOLL_WAIT
