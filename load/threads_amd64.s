#include "textflag.h"

#define SYS_read 0
#define SYS_write 1
#define SYS_close 3
#define SYS_clone 56
#define SYS_exit 60

#define EINTR 4
#define FRAME 64
#define BUFFER 56

// func serveThread(flags, stack, fd uintptr, lost *counter) (tid int)
// What the thread needs is in registers, which it has from its maker. Below its stack pointer, where no signal handler
// will write, lies its frame: the buffer, and above it its connection. A thread of C has some too, and so each has a page
// of its stack in memory.
TEXT ·serveThread(SB), NOSPLIT, $0-40
	MOVQ flags+0(FP), DI
	MOVQ stack+8(FP), SI
	MOVQ fd+16(FP), R12
	MOVQ lost+24(FP), R13
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $SYS_clone, AX
	SYSCALL
	TESTQ AX, AX
	JEQ  serve
	MOVQ AX, tid+32(FP)
	RET
serve:
	MOVQ R12, -8(SP)
next:
	MOVQ R12, DI
	LEAQ -FRAME(SP), SI
	MOVL $BUFFER, DX
	MOVL $SYS_read, AX
	SYSCALL
	CMPQ AX, $0
	JGT  echo
	CMPQ AX, $-EINTR
	JEQ  next
	LOCK
	INCQ 0(R13)
	MOVQ R12, DI
	MOVL $SYS_close, AX
	SYSCALL
	XORL DI, DI
	MOVL $SYS_exit, AX
	SYSCALL
	INT  $3
echo:
	MOVQ R12, DI
	LEAQ -FRAME(SP), SI
	MOVQ AX, DX
	MOVL $SYS_write, AX
	SYSCALL
	JMP  next
