/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The sk_buffs in a socket's queues, and the heads of their data. What a queue holds travels as one number: sk_buffs,
 * clone pairs and heads from a slab by 12 bits each, whether it was not followed to its end, and the size in bytes of
 * the first such head. */
#ifndef CONNPROF_QUEUES_H
#define CONNPROF_QUEUES_H

#include "compat.h"
#include "kernel.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* How many sk_buffs of one queue the walk visits. The verifier goes through each turn of the loops. */
#define SKB_LIMIT 64

#define SKB_PLAIN(c) ((c) >> 0 & 0xfff)
#define SKB_FCLONES(c) ((c) >> 12 & 0xfff)
#define SKB_HEADS(c) ((c) >> 24 & 0xfff)
#define SKB_TRUNCATED(c) ((c) >> 36 & 1)
#define SKB_HEAD_BYTES(c) ((c) >> 40)

#define ONE_PLAIN 1ull
#define ONE_FCLONES (1ull << 12)
#define ONE_HEAD (1ull << 24)
#define TRUNCATED (1ull << 36)
#define HEAD_BYTES(n) ((__u64)(n) << 40)
#define COUNTS (TRUNCATED - 1)

/* True where two sizes round up to the same power of two. */
static __always_inline bool of_one_class(__u64 a, __u64 b)
{
	return ((a - 1) & (b - 1)) > ((a - 1) ^ (b - 1));
}

/* A record tells one size of heads: where they differ, its account is not whole. */
static __always_inline __u64 add_skbs(__u64 sum, __u64 c)
{
	__u64 a = SKB_HEAD_BYTES(sum), b = SKB_HEAD_BYTES(c);
	__u64 counts = (sum & COUNTS) + (c & COUNTS), truncated = (sum | c) & TRUNCATED;

	if (a && b && !of_one_class(a, b))
		truncated = TRUNCATED;
	return counts | truncated | HEAD_BYTES(a ? a : b);
}

static __always_inline struct skb_shared_info *shared_info(struct sk_buff *skb)
{
	return (void *)(BPF_CORE_READ(skb, head) + BPF_CORE_READ(skb, end));
}

/* The upper half counts those who use no more than the payload. */
static __always_inline __u32 head_users(struct sk_buff *skb)
{
	return BPF_CORE_READ(shared_info(skb), dataref.counter) & 0xffff;
}

static __always_inline __u32 pair_users(struct sk_buff *clone)
{
	struct sk_buff_fclones *pair = (void *)clone - bpf_core_field_offset(struct sk_buff_fclones, skb2);

	return BPF_CORE_READ(pair, fclone_ref.refs.counter);
}

/* A sender keeps the first of a pair until it is acknowledged; over loopback the clone is in the receiver's queue
 * meanwhile. As long as both are there, they and their head are the sender's. Of other clones, such as carry a time
 * stamp, nothing tells whose the head is: it is not theirs. */
static __always_inline __u64 one_skb(struct sk_buff *skb)
{
	__u32 fclone = BPF_CORE_READ_BITFIELD_PROBED(skb, fclone);
	__u64 one = fclone ? ONE_FCLONES : ONE_PLAIN;

	if (fclone == SKB_FCLONE_CLONE && pair_users(skb) > 1)
		return 0;
	if (BPF_CORE_READ_BITFIELD_PROBED(skb, head_frag))
		return one;
	if (!fclone && BPF_CORE_READ_BITFIELD_PROBED(skb, cloned) && head_users(skb) > 1)
		return one;
	return one | ONE_HEAD |
	       HEAD_BYTES(BPF_CORE_READ(skb, end) + ((bpf_core_type_size(struct skb_shared_info) + 63) & ~63ull));
}

/* Bytes of the page cache that a sender has queued. */
static __always_inline __u64 page_cache_bytes(struct sk_buff *skb)
{
	__u32 bytes = BPF_CORE_READ(skb, data_len);

	return bytes && has_shared_pages(shared_info(skb)) ? bytes : 0;
}

/* What is counted of a queue: the objects, or the bytes of the page cache. */
#define COUNT_OBJECTS 0
#define COUNT_PAGE_CACHE 1
#define PAGE_CACHE_BYTES 0xffffffffull

/* These three add to a sum. They are global functions, like count_epoll: the verifier goes through each once, whatever
 * the sum may be, and not once for every way through the loops. */
__noinline __u64 count_skb(__u64 skb, __u64 sum, __u32 what)
{
	if (what == COUNT_PAGE_CACHE)
		return sum + page_cache_bytes((struct sk_buff *)skb);
	return add_skbs(sum, one_skb((struct sk_buff *)skb));
}

__noinline __u64 count_list(__u64 queue, __u64 sum, __u32 what)
{
	struct sk_buff *skb = BPF_CORE_READ((struct sk_buff_head *)queue, next);

	for (int i = 0; i < SKB_LIMIT && skb && (__u64)skb != queue; i++) {
		sum = count_skb((__u64)skb, sum, what);
		skb = BPF_CORE_READ(skb, next);
	}
	return skb && (__u64)skb != queue ? sum | TRUNCATED : sum;
}

/* Goes from a tree's root down to the left, then to the right, then up again: a node is new where it is reached from
 * its parent. An edge is gone along twice. */
__noinline __u64 count_tree(__u64 root, __u64 sum, __u32 what)
{
	__u64 node = root, from = 0;

	for (int i = 0; i < 2 * SKB_LIMIT && node; i++) {
		struct rb_node *n = (struct rb_node *)node;
		__u64 parent = BPF_CORE_READ(n, __rb_parent_color) & ~3ull; /* the rest is the colour */
		__u64 left = (__u64)BPF_CORE_READ(n, rb_left), right = (__u64)BPF_CORE_READ(n, rb_right);
		__u64 next = parent;

		if (from == parent) {
			sum = count_skb(node - bpf_core_field_offset(struct sk_buff, rbnode), sum, what);
			next = left ? left : right ? right : parent;
		} else if (from == left && right) {
			next = right;
		}
		from = node;
		node = next;
	}
	return node ? sum | TRUNCATED : sum;
}

#endif
