/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Whose sockets and tasks count, by network namespace. */
#ifndef CONNPROF_SCOPE_H
#define CONNPROF_SCOPE_H

#include "connprof.h"
#include "kernel.h"
#include <bpf/bpf_helpers.h>

/* Set before loading: the verifier leaves out the ways that are not taken, so that one namespace costs one comparison. */
const volatile enum scope_kind scope = SCOPE_ONE;
/* The one (nsfs inode number). */
const volatile __u32 target_netns = 0;

/* The several. Filled before a program is attached; the loader sets the size. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8);
} scope_netns SEC(".maps");

static __always_inline bool in_scope(__u32 netns)
{
	if (scope == SCOPE_ONE)
		return netns == target_netns;
	return scope == SCOPE_ALL || bpf_map_lookup_elem(&scope_netns, &netns);
}

#endif
