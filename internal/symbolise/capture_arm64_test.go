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
	var all Registers
	copy(all[:], r.Regs[:])
	all[arm64.sp], all[arm64.pc] = r.Sp, r.Pc
	return all
}

func stackPointer(s *Sample) uint64 { return s.Registers[arm64.sp] }

// epollWait is the system call of the C library's epoll_wait.
const epollWait = unix.SYS_EPOLL_PWAIT
