//go:build ignore

// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The slab tracepoints: counts by call site for the tasks of the run, and a stack now and then. They fire dozens of
 * times a connection, so the common path makes one map look-up and follows no pointer. */
#include "caches.h"
#include "compat.h"
#include "maps.h"
#include "process.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* Mean number of allocations between two sampled stacks; 0: none. */
volatile __u32 sample_interval = 0;
/* The load processes, known once they run; the loader writes them. 0: none. */
volatile __u32 client_tgid = 0;
volatile __u32 server_tgid = 0;
/* Whose the other tasks in the run's network namespace are: nobody's in particular, or a server's of many processes. */
volatile __u8 other_role = ROLE_NONE;
/* In a namespace that others use as well, only the load processes count. Set before loading. */
const volatile bool load_tasks_only = false;
/* The cache of the endpoints' socks, by whose softirqs stacks are sampled whatever task is current: the accepted ends are
 * made there. 0: none. */
volatile __u64 softirq_cache = 0;
/* The kernel function that allocates slabobj_ext vectors, from its first byte to behind its last. Where only the load
 * processes count, these count all the same: softirqs make new slabs for the accepted ends in whatever task they interrupt.
 * 0: none. */
volatile __u64 vector_site_low = 0;
volatile __u64 vector_site_high = 0;

/* include/linux/gfp_types.h: may sleep to reclaim. Its bit has been 10 since 5.4. */
#define GFP_DIRECT_RECLAIM 0x400u

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct site_table);
} sites SEC(".maps");

#define NOT_OURS 255

/* Whose the current task is. The load processes are known by their ids; any other task counts if it lives in the
 * run's network namespace. */
static __always_inline __u8 current_role(void)
{
	__u32 tgid = current_process();

	if (tgid && tgid == client_tgid) /* 0 is the idle task's, too, which softirqs interrupt */
		return ROLE_CLIENT;
	if (tgid && tgid == server_tgid)
		return ROLE_SERVER;
	return !load_tasks_only && in_scope(current_netns()) ? other_role : NOT_OURS;
}

static __always_inline struct site_table *my_sites(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sites, &zero);
}

/* Makes a free place a call site's; false where another program was there at the same time. */
static __always_inline bool claim(struct site *s, __u64 call_site, __u64 cache, enum role role, enum site_kind kind)
{
	COUNT(s->claims);
	if (READ_ONCE(s->claims) != 1)
		return false;
	s->cache = cache;
	s->role = role;
	s->kind = kind;
	s->count = 1;
	barrier();
	WRITE_ONCE(s->call_site, call_site);
	return true;
}

/* Counts one event. A call site that is new takes the first free place of its few; sites differ by the hundred. The places
 * are not neighbours: those of sites nearby would crowd.
 *
 * Three or four programs use one CPU's table. The kernel does not start one inside itself (since 05b24ff9b2cf, 6.1; before,
 * it does), but an interrupt that allocates may run another of them between any two instructions of this, and so may a
 * task that preempts, where the kernel allows that in tracepoints (7.2). All of them stay on this CPU. Nothing is lost:
 * - A place is claimed by adding one to claims, in one instruction, and it is whoever's the claim is that then reads 1.
 *   A program that came in between has made it 2 or found it 1 and went on. If neither reads 1, the place stays unused.
 * - call_site is written last. Until then the place is nobody's to count in.
 * - If one program so takes two places for one call site, user space adds them up.
 * - count is added to in one instruction. */
static __always_inline void count_site(struct site_table *t, __u64 call_site, __u64 cache, enum role role,
				       enum site_kind kind)
{
	__u64 unnamed = READ_ONCE(t->unnamed);

	if (unnamed) { /* an interrupt's, that found the map of names in use */
		t->unnamed = 0;
		if (!remember_cache((struct kmem_cache *)unnamed))
			t->unnamed = unnamed;
	}
	__u32 mixed = ((__u32)call_site + role * 131 + kind * 37) * 2654435769U; /* 2^32 / golden ratio */
	__u32 at = mixed >> 16, step = (mixed >> 6) | 1;			 /* odd: it comes by every place */

	for (int i = 0; i < SITE_PROBES; i++) {
		struct site *s = &t->sites[(at + i * step) & (SITES - 1)];

		if (s->call_site == call_site && s->cache == cache && s->role == role && s->kind == kind) {
			COUNT(s->count);
			return;
		}
		if (!READ_ONCE(s->claims) && claim(s, call_site, cache, role, kind)) {
			if (!(kind & SITE_SIZED) && !remember_cache((struct kmem_cache *)cache)) {
				if (t->unnamed)
					COUNT(t->full);
				t->unnamed = cache;
			}
			return;
		}
	}
	COUNT(t->full);
}

/* Counts down to the next sample. The distance is drawn anew each time, evenly from 1 to 2n - 1 (mean n), because
 * a fixed one would beat with the order in which a connection's objects are allocated. An interrupt in between, see
 * count_site(), moves the next sample and does no more. */
static __always_inline bool is_sampled(struct site_table *t)
{
	__u32 interval = sample_interval;

	if (!interval)
		return false;
	__u64 left = READ_ONCE(t->until_sample); /* 0: none has been drawn yet */

	if (left > 1) {
		t->until_sample = left - 1;
		return false;
	}
	t->until_sample = 1 + bpf_get_prandom_u32() % (2 * interval - 1);
	return left == 1;
}

static __always_inline void sample(void *ctx, __u64 call_site, __u64 cache, enum role role, bool atomic)
{
	struct cpu_counters *c = my_counters();

	if (!c)
		return;
	struct stack_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		COUNT(c->ring_full);
		return;
	}
	long bytes = bpf_get_stack(ctx, e->frames, sizeof(e->frames), 0);

	if (bytes <= 0 || bytes == sizeof(e->frames)) { /* full: the root may be cut off */
		COUNT(c->stack_failures);
		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
		return;
	}
	e->call_site = call_site;
	e->cache = cache;
	e->weight = sample_interval;
	e->kind = EVENT_STACK;
	e->role = role;
	e->atomic = atomic;
	e->depth = (__u64)bytes / 8;
	COUNT(c->events);
	bpf_ringbuf_submit(e, submit_flags());
}

static __always_inline int on_alloc(void *ctx, __u64 call_site, __u64 cache, enum site_kind kind, gfp_t gfp)
{
	__u8 role = current_role();
	bool atomic = !(gfp & GFP_DIRECT_RECLAIM);
	bool counts = role != NOT_OURS;

	if (!counts && call_site - vector_site_low < vector_site_high - vector_site_low) {
		struct site_table *all = my_sites();

		if (all)
			count_site(all, call_site, cache, ROLE_NONE, kind | (atomic ? SITE_ATOMIC : 0));
		return 0;
	}
	if (!counts && (!atomic || !softirq_cache || cache != softirq_cache))
		return 0;
	struct site_table *t = my_sites();

	if (!t)
		return 0;
	if (counts)
		count_site(t, call_site, cache, role, kind | (atomic ? SITE_ATOMIC : 0));
	else
		role = ROLE_NONE;
	if (is_sampled(t))
		sample(ctx, call_site, cache, role, atomic);
	return 0;
}

/* 2c1d697fb8ba and 11e9734bcb6a (6.1) gave the event its cache and removed kmem_cache_alloc_node. */
SEC("tp_btf/kmem_cache_alloc")
int BPF_PROG(alloc_with_cache, unsigned long call_site, void *ptr, struct kmem_cache *cache, gfp_t gfp)
{
	return on_alloc(ctx, call_site, (__u64)cache, 0, gfp);
}

SEC("tp_btf/kmem_cache_alloc")
int BPF_PROG(alloc_with_size, unsigned long call_site, void *ptr, __u64 requested, __u64 allocated, gfp_t gfp)
{
	return on_alloc(ctx, call_site, allocated, SITE_SIZED, gfp);
}

SEC("tp_btf/kmem_cache_alloc_node")
int BPF_PROG(alloc_node_with_size, unsigned long call_site, void *ptr, __u64 requested, __u64 allocated, gfp_t gfp)
{
	return on_alloc(ctx, call_site, allocated, SITE_SIZED, gfp);
}

SEC("tp_btf/kmalloc")
int BPF_PROG(kmalloc_alloc, unsigned long call_site, void *ptr, __u64 requested, __u64 allocated, gfp_t gfp)
{
	return on_alloc(ctx, call_site, allocated, SITE_SIZED | SITE_KMALLOC, gfp);
}

/* Frees in RCU callbacks come by in whatever task they interrupt: these counts show churn, not balance. */
SEC("tp_btf/kmem_cache_free")
int BPF_PROG(free_object, unsigned long call_site)
{
	__u8 role = current_role();

	if (role == NOT_OURS)
		return 0;
	struct site_table *t = my_sites();

	if (t)
		count_site(t, call_site, 0, role, SITE_FREE | SITE_SIZED);
	return 0;
}

/* Keeps the layout in the BTF, from which the Go type is made. */
const struct stack_event *unused_stack_event __attribute__((unused));

char LICENSE[] SEC("license") = "Dual MIT/GPL";
