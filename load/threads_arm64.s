#include "textflag.h"

#define SYS_close 57
#define SYS_read 63
#define SYS_write 64
#define SYS_exit 93
#define SYS_clone 220

#define EINTR 4
#define FRAME 64
#define BUFFER 56

// func serveThread(flags, stack, fd uintptr, lost *counter) (tid int)
// What the thread needs is in registers, which it has from its maker. Below its stack pointer, where no signal handler
// will write, lies its frame: the buffer, and above it its connection. A thread of C has some too, and so each has a page
// of its stack in memory.
TEXT ·serveThread(SB), NOSPLIT|NOFRAME, $0-40
	MOVD flags+0(FP), R0
	MOVD stack+8(FP), R1
	MOVD fd+16(FP), R19
	MOVD lost+24(FP), R20
	MOVD ZR, R2
	MOVD ZR, R3
	MOVD ZR, R4
	MOVD $SYS_clone, R8
	SVC
	CBZ  R0, serve
	MOVD R0, tid+32(FP)
	RET
serve:
	MOVD R19, -8(RSP)
next:
	MOVD R19, R0
	MOVD RSP, R1
	SUB  $FRAME, R1
	MOVD $BUFFER, R2
	MOVD $SYS_read, R8
	SVC
	CMP  $0, R0
	BGT  echo
	CMN  $EINTR, R0
	BEQ  next
lose:
	LDAXR (R20), R2
	ADD   $1, R2
	STLXR R2, (R20), R3
	CBNZ  R3, lose
	MOVD R19, R0
	MOVD $SYS_close, R8
	SVC
	MOVD ZR, R0
	MOVD $SYS_exit, R8
	SVC
	BRK
echo:
	MOVD R0, R2
	MOVD R19, R0
	MOVD RSP, R1
	SUB  $FRAME, R1
	MOVD $SYS_write, R8
	SVC
	B    next
