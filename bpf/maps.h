/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What the programs that report events have in common. Maps that several objects declare are made once by the loader, which
 * hands them to all. */
#ifndef CONNPROF_MAPS_H
#define CONNPROF_MAPS_H

#include "connprof.h"
#include "counters.h"
#include "kernel.h"
#include "scope.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20); /* the loader may set another size */
} events SEC(".maps");

/* Submitting wakes the reader only once the ring holds this much; below it the reader comes by on its own clock. */
#define WAKE_BYTES (512 << 10)

static __always_inline __u64 submit_flags(void)
{
	return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= WAKE_BYTES ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

static __always_inline void emit_endpoint(struct cpu_counters *c, enum event_kind kind, enum role role,
					  const void *sk, __u32 pid)
{
	struct endpoint_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		COUNT(c->ring_full);
		return;
	}
	e->nanoseconds = bpf_ktime_get_ns();
	e->sk = (__u64)sk;
	e->pid = pid;
	e->kind = kind;
	e->role = role;
	e->pad = 0;
	COUNT(c->events);
	bpf_ringbuf_submit(e, submit_flags());
}

#endif
