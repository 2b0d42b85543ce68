//go:build ignore

// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* All network namespaces of the host, and the endpoints of all of them in one pass over the protocol's hash tables. No
 * namespace is entered for it, and no socket is locked: what changes during the pass may be seen half changed. */
#define COMPAT_WALK
#include "compat.h"
#include "connprof.h"
#include "endpoint.h"
#include "kernel.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, NETNS_MAX);
	__type(key, __u32);
	__type(value, struct netns_record);
} namespaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FOUND_MAX);
	__type(key, __u32);
	__type(value, struct live_record);
} found SEC(".maps");

/* What user space asks and gets. The list of namespaces is whole where it came back to where it began. */
__u32 namespaces_len = 0;
bool namespaces_whole = false;

__u64 table = 0;	/* the first bucket */
__u64 nulls_base = 0;	/* what ends bucket 0 */
bool listeners = false; /* which of the tables it is */
__u32 bucket = 0;	/* the next to visit */
__u32 last_bucket = 0;
__u32 found_len = 0;
__u64 retried = 0;  /* buckets that were begun again: a sock had moved to another meanwhile */
__u64 overfull = 0; /* buckets with more socks than there is place for */

/* Zero, which the verifier does not know. That of older kernels, 6.1 among them, goes through a callback once, with what it
 * is first called with, and takes out what it cannot reach then. */
volatile __u32 nothing = 0;

struct netns_loop {
	struct net *net;
	struct net *first;
	const void *ops;
};

/* The list's head is no struct net: ops tells. */
static long one_netns(__u32 i, struct netns_loop *l)
{
	struct net *net = l->net;

	if (BPF_CORE_READ(net, ns.ops) == l->ops) {
		__u32 at = namespaces_len;
		struct netns_record *r = bpf_map_lookup_elem(&namespaces, &at);

		if (!r)
			return 1;
		struct inet_hashinfo *hash = BPF_CORE_READ(net, ipv4.tcp_death_row.hashinfo);

		r->established = (__u64)BPF_CORE_READ(hash, ehash);
		r->established_mask = BPF_CORE_READ(hash, ehash_mask);
		r->listening = (__u64)BPF_CORE_READ(hash, lhash2);
		r->listening_mask = BPF_CORE_READ(hash, lhash2_mask);
		r->inode = BPF_CORE_READ(net, ns.inum);
		namespaces_len = at + 1;
	}
	l->net = (void *)BPF_CORE_READ(net, list.next) - bpf_core_field_offset(struct net, list);
	namespaces_whole = l->net == l->first;
	return namespaces_whole;
}

SEC("syscall")
int list_namespaces(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct net *first = BPF_CORE_READ(task, nsproxy, net_ns);
	struct netns_loop l = {.net = first, .first = first, .ops = BPF_CORE_READ(first, ns.ops)};

	namespaces_len = 0;
	namespaces_whole = false;
	bpf_loop(NETNS_MAX + 1, one_netns, &l, 0);
	return 0;
}

static __always_inline void one_sock(struct live_record *l, struct sock_common *skc, const bool typed)
{
	set_addresses(&l->endpoint, skc, typed);
	if (l->endpoint.state == TCP_TIME_WAIT)
		timewait_sock(l, typed ? CAST(skc, tcp_timewait_sock) : (void *)skc, typed);
	else if (l->endpoint.state == TCP_NEW_SYN_RECV)
		request_sock(l, typed ? CAST(skc, tcp_request_sock) : (void *)skc, typed);
	else
		full_sock(l, typed ? CAST(skc, tcp_sock) : (void *)skc, typed);
}

/* A global function: the verifier goes through it once. */
__noinline int visit_sock(__u64 address, __u32 at)
{
	struct live_record *l = bpf_map_lookup_elem(&found, &at);

	if (!l)
		return 0;
	__builtin_memset(l, 0, sizeof(*l));
	l->idle = l->age = NOT_KNOWN;
	if (HAVE_CAST)
		one_sock(l, CAST(address, sock_common), true);
	else
		one_sock(l, (struct sock_common *)address, false);
	return 1;
}

struct table_loop {
	__u64 node;  /* 0: a bucket is to be begun */
	__u32 begun; /* how much had been found when it was */
	__u32 retries;
};

#define RETRIES 3
#define IS_NULLS(node) ((node)&1)

static __always_inline __u64 first_of(__u32 b)
{
	struct hlist_nulls_node *first = NULL;
	const void *at = (void *)table;

	if (listeners)
		at += (__u64)b * bpf_core_type_size(struct inet_listen_hashbucket) +
		      bpf_core_field_offset(struct inet_listen_hashbucket, nulls_head);
	else
		at += (__u64)b * bpf_core_type_size(struct inet_ehash_bucket);
	bpf_probe_read_kernel(&first, sizeof(first), at);
	return (__u64)first;
}

/* Where a bucket ends. A list that ends with another bucket's number is followed again. */
static __always_inline bool end_bucket(struct table_loop *t)
{
	if (t->node && t->node >> 1 != nulls_base + bucket && t->retries < RETRIES) {
		t->retries++;
		retried++;
		found_len = t->begun;
		t->node = 0;
		return false;
	}
	bucket++;
	t->node = 0;
	t->retries = 0;
	return bucket > last_bucket || found_len >= FOUND_ENOUGH;
}

/* Begins a bucket, or visits one sock. */
static long one_step(__u32 i, struct table_loop *t)
{
	if (!t->node) {
		t->begun = found_len;
		t->node = first_of(bucket);
		return !t->node || IS_NULLS(t->node) ? end_bucket(t) : 0;
	}
	struct hlist_nulls_node *node = (void *)t->node;

	if (!visit_sock(t->node - bpf_core_field_offset(struct sock_common, skc_nulls_node), found_len)) {
		overfull++;
		t->retries = RETRIES;
		return end_bucket(t);
	}
	found_len++;
	t->node = (__u64)BPF_CORE_READ(node, next);
	return !t->node || IS_NULLS(t->node) ? end_bucket(t) : 0;
}

SEC("syscall")
int walk_table(void *ctx)
{
	struct table_loop t = {.node = nothing, .retries = nothing};

	found_len = 0;
	if (HAVE_RCU_READ_LOCK)
		bpf_rcu_read_lock();
	bpf_loop(STEPS_MAX, one_step, &t, 0);
	if (HAVE_RCU_READ_LOCK)
		bpf_rcu_read_unlock();
	return 0;
}

/* Keeps them in the BTF, from which the Go types are made. */
const struct netns_record *unused_netns_record __attribute__((unused));

char LICENSE[] SEC("license") = "Dual MIT/GPL";
