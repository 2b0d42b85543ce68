/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Every difference between kernel versions that the programs have to know, each with the commit that made it.
 * A struct with a ___suffix is the same kernel struct as another version declares it. */
#ifndef CONNPROF_COMPAT_H
#define CONNPROF_COMPAT_H

#include "kernel.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* One member of a struct, where a pointer leads. Of a constant named typed the macros learn whether the verifier knows the
 * pointer's type. */
#define LOAD(p, member)                                                                                              \
	({                                                                                                           \
		typeof(p) pointer = (p);                                                                             \
		typed ? pointer->member : BPF_CORE_READ(pointer, member);                                            \
	})
#define LOAD_BITS(p, member) (typed ? BPF_CORE_READ_BITFIELD(p, member) : BPF_CORE_READ_BITFIELD_PROBED(p, member))

/* a35b9af4ec2c (6.2) gives a pointer a type, through which plain loads may go. */
extern void *bpf_rdonly_cast(const void *address, __u32 btf_id) __ksym __weak;
#define HAVE_CAST ((void *)bpf_rdonly_cast != NULL)
#define CAST(address, type)                                                                                          \
	((struct type *)bpf_rdonly_cast((const void *)(address), bpf_core_type_id_kernel(struct type)))

/* 9bb00b2895cb (6.2) lets a program that may sleep have what RCU protects. */
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;
#define HAVE_RCU_READ_LOCK ((void *)bpf_rcu_read_lock != NULL)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* 319c15174757 (5.11) took the list of epitems out of struct file; before that the file holds it itself. */
struct file___5_11 {
	struct hlist_head *f_ep;
};
struct file___5_10 {
	struct list_head f_ep_links;
};
struct epitem___5_11 {
	struct hlist_node fllink;
};
struct epitem___5_10 {
	struct list_head fllink;
};

/* 80285b75c683 (5.11) made epitem->pwqlist a singly linked list. */
struct epitem___single {
	struct eppoll_entry *pwqlist;
};
struct epitem___double {
	struct list_head pwqlist;
};

/* 28044fc1d495 (6.1, after a revert in 6.0) added the bind hash by address and port. */
struct inet_connection_sock___6_1 {
	struct inet_bind2_bucket *icsk_bind2_hash;
};
struct inet_timewait_sock___6_1 {
	struct inet_bind2_bucket *tw_tb2;
};

/* 8191792c18c5 (6.8) took the owners out of inet_bind_bucket: it lists its inet_bind2_buckets instead, and these
 * list their sockets by skc_bind_node; between 6.1 and 6.7 they used a node of their own. */
struct inet_bind_bucket___owners {
	struct hlist_head owners;
};
struct inet_bind_bucket___bhash2 {
	struct hlist_head bhash2;
};
struct inet_bind2_bucket___owners {
	struct hlist_head owners;
};
struct inet_bind2_bucket___bhash2 {
	struct hlist_node bhash_node;
};
struct sock___bind2_node {
	struct hlist_node sk_bind2_node;
};

/* d57f4b874946 (6.18) marks each sock whose port connect() chose. */
struct inet_timewait_sock___6_18 {
	unsigned int tw_connect_bind : 1;
};

/* 8520e224f547 (5.16) took the tag out of sock_cgroup_data: before that one word is a cgroup, or with bit 0 set numbers
 * of the first version of cgroups. */
struct sock_cgroup_data___5_10 {
	__u64 val;
};

/* 06b4feb37e64 (5.12) moved the flag of pages that others may change from tx_flags. */
struct skb_shared_info___5_12 {
	__u8 flags;
};

/* Exists with CONFIG_MPTCP. */
struct tcp_sock___mptcp {
	bool is_mptcp;
};

/* 3cd3399dd7a8 (6.0) has each CPU keep some of the protocol's pages. */
struct proto___6_0 {
	int *per_cpu_fw_alloc;
};

#pragma clang attribute pop

/* How far the walk follows the epoll sets that a file is in, and the wait queues of each (TCP has one). The verifier
 * goes through every combination before it loads the program, so these are also what start-up costs. */
#define EPITEM_LIMIT 8
#define ENTRY_LIMIT 2

/* a396eda11aae (5.11) added bpf_get_current_task_btf(), through which the verifier lets plain loads follow pointers;
 * before that each step is a call. */
#define HAVE_CURRENT_TASK_BTF bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)

static __always_inline __u32 current_netns(void)
{
	struct task_struct *task;

	if (HAVE_CURRENT_TASK_BTF) {
		task = bpf_get_current_task_btf();
		return task->nsproxy ? task->nsproxy->net_ns->ns.inum : 0; /* none: it is exiting */
	}
	task = (void *)bpf_get_current_task();
	return BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
}

/* Counts an epitem's wait queue entries; false where there are more than the walk follows. */
static __always_inline bool count_eppoll_entries(const void *epi, __u32 *n)
{
	if (bpf_core_field_exists(struct epitem___single, pwqlist) &&
	    bpf_core_field_size(struct epitem___single, pwqlist) == sizeof(void *)) {
		struct eppoll_entry *pwq = BPF_CORE_READ((struct epitem___single *)epi, pwqlist);

		for (int i = 0; i < ENTRY_LIMIT && pwq; i++) {
			(*n)++;
			pwq = BPF_CORE_READ(pwq, next);
		}
		return !pwq;
	}
	const void *head = epi + bpf_core_field_offset(struct epitem___double, pwqlist);
	struct list_head *node = BPF_CORE_READ((struct list_head *)head, next);

	for (int i = 0; i < ENTRY_LIMIT && node && node != head; i++) {
		(*n)++;
		node = BPF_CORE_READ(node, next);
	}
	return !node || node == head;
}

/* What a file's membership in epoll sets costs, packed into a number by 16 bits each: an epitem a set, an
 * eppoll_entry a wait queue, and since 5.11 one epitems_head for all; last, whether a list was too long.
 *
 * A global function: the verifier goes through it once, and not once for each way that leads to its call. Only the
 * walk has use for it. */
#define EPOLL_EPITEMS(c) ((c) >> 0 & 0xffff)
#define EPOLL_ENTRIES(c) ((c) >> 16 & 0xffff)
#define EPOLL_HEADS(c) ((c) >> 32 & 0xffff)
#define EPOLL_TRUNCATED(c) ((c) >> 48)

#ifdef COMPAT_WALK
__noinline __u64 count_epoll(__u64 file)
{
	__u64 epitems = 0, heads = 0, truncated = 0;
	__u32 entries = 0;

	if (bpf_core_field_exists(struct file___5_11, f_ep)) {
		struct hlist_head *head = BPF_CORE_READ((struct file___5_11 *)file, f_ep);
		struct hlist_node *node = head ? BPF_CORE_READ(head, first) : NULL;

		heads = head != NULL;
		for (int i = 0; i < EPITEM_LIMIT && node; i++) {
			const void *epi = (void *)node - bpf_core_field_offset(struct epitem___5_11, fllink);

			epitems++;
			truncated |= !count_eppoll_entries(epi, &entries);
			node = BPF_CORE_READ(node, next);
		}
		truncated |= node != NULL;
	} else {
		const void *head = (void *)file + bpf_core_field_offset(struct file___5_10, f_ep_links);
		struct list_head *node = BPF_CORE_READ((struct list_head *)head, next);

		for (int i = 0; i < EPITEM_LIMIT && node && node != head; i++) {
			const void *epi = (void *)node - bpf_core_field_offset(struct epitem___5_10, fllink);

			epitems++;
			truncated |= !count_eppoll_entries(epi, &entries);
			node = BPF_CORE_READ(node, next);
		}
		truncated |= node && node != head;
	}
	return epitems | (__u64)entries << 16 | heads << 32 | truncated << 48;
}
#endif

static __always_inline struct inet_bind2_bucket *bind2_of_sock(struct inet_connection_sock *icsk, const bool typed)
{
	struct inet_connection_sock___6_1 *newer = (void *)icsk;

	if (!bpf_core_field_exists(newer->icsk_bind2_hash))
		return NULL;
	return LOAD(newer, icsk_bind2_hash);
}

static __always_inline struct inet_bind2_bucket *bind2_of_timewait(struct inet_timewait_sock *tw, const bool typed)
{
	struct inet_timewait_sock___6_1 *newer = (void *)tw;

	if (!bpf_core_field_exists(newer->tw_tb2))
		return NULL;
	return LOAD(newer, tw_tb2);
}

/* True where node is the one and only entry of a list that begins with first. */
static __always_inline bool is_alone(struct hlist_node *first, struct hlist_node *node, const bool typed)
{
	return first == node && !LOAD(node, next);
}

/* Whether the address-and-port bucket belongs to this full socket alone. */
static __always_inline bool bind2_is_sole(struct sock *sk, struct inet_bind2_bucket *tb2, const bool typed)
{
	struct inet_bind2_bucket___owners *o = (void *)tb2;
	struct sock___bind2_node *older = (void *)sk;

	if (!bpf_core_field_exists(o->owners))
		return false;
	struct hlist_node *first = LOAD(o, owners.first);

	if (bpf_core_field_exists(older->sk_bind2_node))
		return is_alone(first, &older->sk_bind2_node, typed);
	return is_alone(first, &sk->__sk_common.skc_bind_node, typed);
}

/* Whether the port's bucket belongs to this full socket alone. */
static __always_inline bool bind_is_sole(struct sock *sk, struct inet_bind_bucket *tb, struct inet_bind2_bucket *tb2,
					 const bool typed)
{
	struct inet_bind_bucket___owners *older = (void *)tb;
	struct inet_bind_bucket___bhash2 *newer = (void *)tb;
	struct inet_bind2_bucket___bhash2 *second = (void *)tb2;

	if (bpf_core_field_exists(older->owners))
		return is_alone(LOAD(older, owners.first), &sk->__sk_common.skc_bind_node, typed);
	if (!bpf_core_field_exists(newer->bhash2) || !tb2)
		return false;
	return is_alone(LOAD(newer, bhash2.first), &second->bhash_node, typed) && bind2_is_sole(sk, tb2, typed);
}

/* Before 6.18 only the bucket tells that connect() chose a port: __inet_hash_connect() makes it with a fastreuse of -1, and
 * inet_csk_get_port(), for bind() and listen(), with 0 or 1. That can mislead where both use one port with different
 * addresses: bind() joins connect()'s bucket, which keeps its -1 with SO_REUSEADDR and loses it without. */
static __always_inline bool made_by_connect(struct inet_bind_bucket *tb, const bool typed)
{
	return tb && LOAD(tb, fastreuse) < 0;
}

static __always_inline bool bound_by_connect(__u32 userlocks, struct inet_bind_bucket *tb, const bool typed)
{
	if (bpf_core_field_exists(struct inet_timewait_sock___6_18, tw_connect_bind))
		return userlocks & SOCK_CONNECT_BIND;
	return made_by_connect(tb, typed);
}

static __always_inline bool timewait_bound_by_connect(struct inet_timewait_sock *tw, const bool typed)
{
	struct inet_timewait_sock___6_18 *newer = (void *)tw;

	if (bpf_core_field_exists(newer->tw_connect_bind))
		return BPF_CORE_READ_BITFIELD_PROBED(newer, tw_connect_bind);
	return made_by_connect(LOAD(tw, tw_tb), typed);
}

/* The ID of the cgroup that made a socket; before 5.16 an empty word stands for the root, whose ID is 1. */
static __always_inline __u64 cgroup_of(struct sock *sk, const bool typed)
{
	struct cgroup *cgroup;

	if (!bpf_core_field_exists(sk->sk_cgrp_data)) /* without CONFIG_SOCK_CGROUP_DATA */
		return 0;
	if (bpf_core_field_exists(sk->sk_cgrp_data.cgroup)) {
		cgroup = LOAD(sk, sk_cgrp_data.cgroup);
		return cgroup ? LOAD(LOAD(cgroup, kn), id) : 0;
	}
	struct sock_cgroup_data___5_10 *tagged = (void *)&sk->sk_cgrp_data;
	__u64 word = BPF_CORE_READ(tagged, val);

	if (word & 1)
		return 0;
	cgroup = (void *)(word & ~3ull);
	return cgroup ? BPF_CORE_READ(cgroup, kn, id) : 1;
}

static __always_inline bool is_subflow(struct tcp_sock *tp, const bool typed)
{
	struct tcp_sock___mptcp *known = (void *)tp;

	return bpf_core_field_exists(known->is_mptcp) && LOAD_BITS(known, is_mptcp);
}

/* e6f2dd0f8067 (5.17) added bpf_loop(). */
#define HAVE_LOOP bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop)

/* 4f19cab76136 (5.11) added bpf_sock_from_file(). Before that the file tells by its inode: what SOCKFS_MAGIC names holds
 * sockets alone, and of one that is only a path (O_PATH) the file leads to nothing. */
#define HAVE_SOCK_FROM_FILE bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_sock_from_file)
#define SOCKFS_MAGIC 0x534f434b

static __always_inline struct socket *socket_of(struct file *file)
{
	if (BPF_CORE_READ(file, f_inode, i_sb, s_magic) != SOCKFS_MAGIC)
		return NULL;
	return BPF_CORE_READ(file, private_data);
}

/* Whether somebody else may write to the pages of an sk_buff, as with sendfile() from the page cache. */
#define SKBFL_SHARED_FRAG (1 << 1)
#define SKBTX_SHARED_FRAG_5_11 (1 << 5)

static __always_inline bool has_shared_pages(struct skb_shared_info *info)
{
	struct skb_shared_info___5_12 *newer = (void *)info;

	if (bpf_core_field_exists(newer->flags))
		return BPF_CORE_READ(newer, flags) & SKBFL_SHARED_FRAG;
	return BPF_CORE_READ(info, tx_flags) & SKBTX_SHARED_FRAG_5_11;
}

#endif
