/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What the programs count, one struct a CPU. */
#ifndef CONNPROF_COUNTERS_H
#define CONNPROF_COUNTERS_H

#include "connprof.h"
#include "kernel.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cpu_counters);
} counters SEC(".maps");

static __always_inline struct cpu_counters *my_counters(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&counters, &zero);
}

/* Adds one, in one instruction. An interrupt, and where the kernel preempts tracepoints another task, may run a program
 * between any two instructions of another on the same CPU: one that has read a counter and not written it yet would undo
 * what the other added. */
#define COUNT(counter) ((void)__sync_fetch_and_add(&(counter), 1))

/* The compiler does these once, and moves nothing over the last. */
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile typeof(x) *)&(x) = (value))
#define barrier() asm volatile("" ::: "memory")

#endif
