/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Remembers name and geometry of every slab cache met, so that user space can tell what a pointer stands for. */
#ifndef CONNPROF_CACHES_H
#define CONNPROF_CACHES_H

#include "connprof.h"
#include "counters.h"
#include "kernel.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <linux/errno.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, __u64);
	__type(value, struct cache_info);
} caches SEC(".maps");

/* False where it has to be tried again: the map's bucket was in use by what this program interrupts. */
static __always_inline bool remember_cache(const struct kmem_cache *cache)
{
	__u64 key = (__u64)cache;

	if (!cache || bpf_map_lookup_elem(&caches, &key))
		return true;
	struct cache_info info = {};

	bpf_probe_read_kernel_str(info.name, sizeof(info.name), BPF_CORE_READ(cache, name));
	info.size = BPF_CORE_READ(cache, size);
	info.object_size = BPF_CORE_READ(cache, object_size);
	info.oo = BPF_CORE_READ(cache, oo.x);
	info.flags = BPF_CORE_READ(cache, flags);
	/* An int: before d7ba4cc900bf (6.4) the upper half of what comes back is 0 where the kernel calls the map directly. */
	int err = bpf_map_update_elem(&caches, &key, &info, BPF_NOEXIST);

	if (err == -EBUSY)
		return false;
	struct cpu_counters *c = my_counters();

	if (err && err != -EEXIST && c) /* that it exists is what was wanted */
		COUNT(c->map_full);
	return true;
}

#endif
