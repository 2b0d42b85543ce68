/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The sk_buffs in a socket's queues, and the heads of their data. What a queue holds travels as one number: sk_buffs,
 * clone pairs and heads from a slab by 16 bits each, whether the account of it is not whole, whether the queue was too
 * long to be followed to its end, and the size of the first such head. */
#ifndef CONNPROF_QUEUES_H
#define CONNPROF_QUEUES_H

#include "compat.h"
#include "kernel.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* How many sk_buffs of one queue the walk visits: what five queues hold together fits 16 bits. Without bpf_loop() the
 * verifier goes through each turn of the loops. */
#define SKB_LIMIT 8192
#define SKB_LIMIT_UNROLLED 64

#define SKB_PLAIN(c) ((c) >> 0 & 0xffff)
#define SKB_FCLONES(c) ((c) >> 16 & 0xffff)
#define SKB_HEADS(c) ((c) >> 32 & 0xffff)
#define SKB_TRUNCATED(c) ((c) >> 48 & 1)
#define SKB_LONG(c) ((c) >> 49 & 1)
#define SKB_HEAD_BYTES(c) ((c) >> 50 << 6)

#define ONE_PLAIN 1ull
#define ONE_FCLONES (1ull << 16)
#define ONE_HEAD (1ull << 32)
#define TRUNCATED (1ull << 48)
#define LONG (1ull << 49)
#define HEAD_BYTES(n) (((__u64)(n) + 63) >> 6 << 50) /* caches of heads are of multiples of 64 */
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
	__u64 counts = (sum & COUNTS) + (c & COUNTS), flags = (sum | c) & (TRUNCATED | LONG);

	if (a && b && !of_one_class(a, b))
		flags |= TRUNCATED;
	return counts | flags | HEAD_BYTES(a ? a : b);
}

/* The most of one kind that a direction is said to have: two fit 16 bits. */
#define SKB_MOST 32767

/* What a direction holds, by its charge, where as much as was visited of it is charged with these bytes. */
static __always_inline __u64 scale_skbs(__u64 c, __u64 charge, __u64 bytes)
{
	__u64 plain = SKB_PLAIN(c) * charge / bytes, fclones = SKB_FCLONES(c) * charge / bytes;
	__u64 heads = SKB_HEADS(c) * charge / bytes;

	if (plain > SKB_MOST || fclones > SKB_MOST || heads > SKB_MOST)
		return c | TRUNCATED;
	return plain * ONE_PLAIN | fclones * ONE_FCLONES | heads * ONE_HEAD | (c & ~COUNTS);
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

/* What is counted of a queue: the objects, the bytes of the page cache, or the bytes that it is charged with. */
#define COUNT_OBJECTS 0
#define COUNT_PAGE_CACHE 1
#define COUNT_CHARGE 2

/* These three add to a sum. They are global functions, like count_epoll: the verifier goes through each once, whatever
 * the sum may be, and not once for every way through the loops. */
__noinline __u64 count_skb(__u64 skb, __u64 sum, __u32 what)
{
	if (what == COUNT_PAGE_CACHE)
		return sum + page_cache_bytes((struct sk_buff *)skb);
	if (what == COUNT_CHARGE)
		return sum + BPF_CORE_READ((struct sk_buff *)skb, truesize);
	return add_skbs(sum, one_skb((struct sk_buff *)skb));
}

struct queue_loop {
	__u64 node;
	__u64 end; /* of a list: where it begins; of a tree: the node that one came from */
	__u64 sum;
	__u32 what;
};

/* Visits one of a list. True at its end. */
static long one_of_list(__u32 i, struct queue_loop *q)
{
	struct sk_buff *skb = (struct sk_buff *)q->node;

	if (!skb || q->node == q->end)
		return 1;
	q->sum = count_skb(q->node, q->sum, q->what);
	q->node = (__u64)BPF_CORE_READ(skb, next);
	return 0;
}

static __always_inline __u64 sum_of(struct queue_loop *q, bool ended)
{
	return ended || q->what != COUNT_OBJECTS ? q->sum : q->sum | LONG;
}

__noinline __u64 count_list(__u64 queue, __u64 sum, __u32 what)
{
	struct queue_loop q = {.end = queue, .sum = sum, .what = what};

	q.node = (__u64)BPF_CORE_READ((struct sk_buff_head *)queue, next);
	if (HAVE_LOOP)
		bpf_loop(SKB_LIMIT, one_of_list, &q, 0);
	else
		for (int i = 0; i < SKB_LIMIT_UNROLLED && !one_of_list(i, &q); i++)
			;
	return sum_of(&q, !q.node || q.node == queue);
}

/* Goes from a tree's root down to the left, then to the right, then up again: a node is new where it is reached from
 * its parent. An edge is gone along twice. */
static long one_of_tree(__u32 i, struct queue_loop *q)
{
	struct rb_node *n = (struct rb_node *)q->node;

	if (!n)
		return 1;
	__u64 parent = BPF_CORE_READ(n, __rb_parent_color) & ~3ull; /* the rest is the colour */
	__u64 left = (__u64)BPF_CORE_READ(n, rb_left), right = (__u64)BPF_CORE_READ(n, rb_right);
	__u64 next = parent;

	if (q->end == parent) {
		q->sum = count_skb(q->node - bpf_core_field_offset(struct sk_buff, rbnode), q->sum, q->what);
		next = left ? left : right ? right : parent;
	} else if (q->end == left && right) {
		next = right;
	}
	q->end = q->node;
	q->node = next;
	return 0;
}

__noinline __u64 count_tree(__u64 root, __u64 sum, __u32 what)
{
	struct queue_loop q = {.node = root, .sum = sum, .what = what};

	if (HAVE_LOOP)
		bpf_loop(2 * SKB_LIMIT, one_of_tree, &q, 0);
	else
		for (int i = 0; i < 2 * SKB_LIMIT_UNROLLED && !one_of_tree(i, &q); i++)
			;
	return sum_of(&q, !q.node);
}

#endif
