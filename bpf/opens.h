/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Who opens connections: what the programs of opens.bpf.c and the Go side share. */
#ifndef CONNPROF_OPENS_H
#define CONNPROF_OPENS_H

#include "connprof.h"
#include <linux/types.h>

/* An opener's number has two halves. The upper one is a code path that user space has numbered (from 1 on), or has one of these bits
 * and says what is known in its place; the lower one is the process. */
#define OPENER_PATHS_MAX 0x0fffffff
enum opener_bits {
	OPENER_PROCESS = 0x10000000,  /* a process, by role */
	OPENER_LATE = 0x1fffffff,     /* opened while the walk at the end goes on: it counts nowhere */
	OPENER_KERNEL = 0x20000000,   /* a thread of the kernel's, or one of io_uring's */
	OPENER_LISTENER = 0x40000000, /* | port; the lower half is the network namespace */
	OPENER_SAMPLE = 0x80000000,   /* a copied stack, of which all other bits are a serial number */
};
#define OPENER(path, low) ((__u64)(path) << 32 | (__u32)(low))

/* Why connections do not come up, beside the kernel's error. */
enum ONE_BYTE open_error {
	ERROR_NONE,
	ERROR_OTHER,	  /* of a number that has no place of its own */
	ERROR_GIVEN_UP,	  /* the program closed it */
	ERROR_NO_ADDRESS, /* connect() found no local port: EADDRNOTAVAIL */
	ERROR_REFUSED,
	ERROR_TIMED_OUT,
	ERROR_RESET,
	ERROR_NO_NETWORK,
	ERROR_NO_HOST,
	ERROR_NOT_PERMITTED,
	ERROR_INTERRUPTED,
	ERROR_KINDS,
};

/* Lifetimes are counted by quarters of an octave of microseconds, up to 2^36 (19 hours). */
#define LIFETIME_STEPS 148

/* One opener's counts. */
struct opener {
	__u64 opened;
	__u64 closed; /* the failed among them */
	__u64 failed;
	__u64 arrived; /* at a listener, whoever accepts them */
	char comm[16];
	__u32 pid; /* of the thread group, in connprof's pid namespace; 0: it has no number there */
	enum role role;
	__u8 pad[3];
	__u32 errors[ERROR_KINDS];
	__u32 pad2;
	__u32 lifetimes[LIFETIME_STEPS];
};

/* A connection from its open to its destruction. */
struct open_socket {
	__u64 nanoseconds; /* CLOCK_MONOTONIC */
	__u64 opener;
	enum open_error error;
	enum role role;
	__u8 accepted;
	__u8 pad;
	__u16 peer_port; /* host byte order; tells it from another connection that has the sock's memory later */
	__u8 pad2[2];
};
_Static_assert(sizeof(struct open_socket) == 24, "open_socket is read as 24 bytes");

/* Where a client's connections go to. */
struct service_key {
	__u32 netns;
	__u16 port; /* host byte order */
	__u8 family;
	__u8 pad;
	__u8 address[16];
};
struct service {
	__u64 opened;
	__u64 failed;
};

/* Who made a listener. */
struct listener_key {
	__u32 netns;
	__u32 port;
};
struct listener {
	__u32 pid;
	__u32 followed;
	char comm[16];
};

#define STACK_COPY 16384 /* bytes */
#define COPY_STEP 256
#define REGISTERS 33

/* A copy of a thread's user registers, by DWARF number, and of its stack from the stack pointer up. */
struct stack_copy {
	__u64 opener;	   /* the number it was counted under */
	__u64 learned;	   /* what the stack was recognised as; 0: it was not */
	__u64 program;	   /* see struct stack_key */
	__u64 start_stack; /* where exec() put the stack, as in /proc/PID/stat */
	__u64 registers[REGISTERS];
	__u32 pid;
	__u32 tid;
	__u32 len;
	enum role role;
	__u8 pad[3];
	char comm[16];
	__u8 memory[STACK_COPY];
};

/* Where on the stack the return addresses of a path lie, and what they are. Paths that begin alike differ by way. */
#define STACK_SLOTS 96
#define STACK_WAYS 24
struct stack_key {
	__u64 ip;
	__u64 program; /* tells what exec() made apart: Go programs are at the same addresses, and so is a copy that was stripped */
	__u32 sp; /* in its page */
	__u32 way;
};
struct learned_stack {
	__u32 path;
	__u32 n; /* slots */
	__u32 offsets[STACK_SLOTS];
	__u64 values[STACK_SLOTS];
};

/* One per CPU. */
struct open_counters {
	__u64 opened; /* connect() that got as far as SYN_SENT, and handshakes completed */
	__u64 closed; /* destroyed, of those that were opened meanwhile */
	__u64 failed;
	__u64 closed_before;   /* destroyed, of those that were open before */
	__u64 never_connected; /* destroyed, and never connected, accepted or listening */
	__u64 replaced;	       /* opened anew while the last one's end was not seen */
	__u64 copied;
	__u64 recognised;
	__u64 not_copied; /* stacks for which there was no room or leave */
	__u64 map_full;	  /* connections that found no place among the open ones */
	__u64 rows_full;  /* those whose opener found none */
};

#endif
