/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* An endpoint and what hangs on it become a record. All functions have a constant argument, typed: whether the verifier
 * knows the types of the pointers. Then plain loads follow them, else each step is a call. */
#ifndef CONNPROF_ENDPOINT_H
#define CONNPROF_ENDPOINT_H

#include "asked.h"
#include "caches.h"
#include "compat.h"
#include "connprof.h"
#include "live.h"
#include "queues.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

static __always_inline void set_addresses(struct endpoint_record *r, struct sock_common *skc, const bool typed)
{
	r->sk = (__u64)skc;
	r->netns = LOAD(LOAD(skc, skc_net.net), ns.inum);
	r->family = LOAD(skc, skc_family);
	r->state = LOAD(skc, skc_state);
	r->local_port = LOAD(skc, skc_num);
	r->remote_port = __builtin_bswap16(LOAD(skc, skc_dport));
	if (r->family != AF_INET6) {
		*(__be32 *)r->local = LOAD(skc, skc_rcv_saddr);
		*(__be32 *)r->remote = LOAD(skc, skc_daddr);
	} else if (typed) {
		*(struct in6_addr *)r->local = skc->skc_v6_rcv_saddr;
		*(struct in6_addr *)r->remote = skc->skc_v6_daddr;
	} else {
		bpf_core_read(r->local, sizeof(r->local), &skc->skc_v6_rcv_saddr);
		bpf_core_read(r->remote, sizeof(r->remote), &skc->skc_v6_daddr);
	}
}

static __always_inline void set_cache(struct endpoint_record *r, struct kmem_cache *cache)
{
	r->cache = (__u64)cache;
	remember_cache(cache);
}

static __always_inline void set_binds(struct endpoint_record *r, void *tb, void *tb2)
{
	r->bind = (__u64)tb;
	r->bind2 = (__u64)tb2;
	r->objects[TYPE_BIND_BUCKET] = tb != NULL;
	r->objects[TYPE_BIND2_BUCKET] = tb2 != NULL;
}

static __always_inline void follow_file(struct live_record *l, struct socket *sock, struct file *file,
					const bool typed)
{
	struct endpoint_record *r = &l->endpoint;
	struct inode *inode = LOAD(file, f_inode);

	r->file = (__u64)file;
	r->objects[TYPE_FILE] = 1;
	r->objects[TYPE_DENTRY] = LOAD(file, f_path.dentry) != NULL;
	r->objects[TYPE_LSM_FILE] = LOAD(file, f_security) != NULL;
	r->objects[TYPE_LSM_INODE] = LOAD(inode, i_security) != NULL;
	if (live)
		l->inode = LOAD(inode, i_ino);
	__u64 address; /* the same as file, but a number to the verifier */

	BPF_CORE_READ_INTO(&address, sock, file);
	__u64 c = count_epoll(address);

	r->objects[TYPE_EPITEM] = EPOLL_EPITEMS(c);
	r->objects[TYPE_EPPOLL_ENTRY] = EPOLL_ENTRIES(c);
	r->objects[TYPE_EPITEMS_HEAD] = EPOLL_HEADS(c);
	if (EPOLL_TRUNCATED(c))
		r->flags |= WALK_TRUNCATED;
}

/* The first of a list points back to the list: its address, as a number to the verifier. */
static __always_inline __u64 address_of_list(struct sk_buff *first)
{
	return (__u64)BPF_CORE_READ(first, prev);
}

static __always_inline __u64 count_received(struct tcp_sock *tp, __u32 what, const bool typed)
{
	struct sock *sk = &tp->inet_conn.icsk_inet.sk;
	__u64 root, c = count_list(address_of_list(LOAD(sk, sk_receive_queue.next)), 0, what);

	c = count_list(address_of_list(LOAD(sk, sk_error_queue.next)), c, what);
	BPF_CORE_READ_INTO(&root, tp, out_of_order_queue.rb_node);
	return count_tree(root, c, what);
}

static __always_inline __u64 count_sent(struct tcp_sock *tp, __u32 what, const bool typed)
{
	struct sock *sk = &tp->inet_conn.icsk_inet.sk;
	__u64 root, c = count_list(address_of_list(LOAD(sk, sk_write_queue.next)), 0, what);

	BPF_CORE_READ_INTO(&root, sk, tcp_rtx_queue.rb_node);
	return count_tree(root, c, what);
}

/* What one direction holds. The charge is for all of it, and visited for what the walk has visited. */
static __always_inline __u64 whole_queue(struct endpoint_record *r, __u64 c, __u64 charge, __u64 visited)
{
	if (!visited || charge <= visited)
		return c | TRUNCATED;
	r->flags |= WALK_SCALED;
	return scale_skbs(c, charge, visited);
}

static __always_inline void follow_sent(struct live_record *l, struct tcp_sock *tp, __u64 *c, const bool typed)
{
	struct endpoint_record *r = &l->endpoint;
	__u64 sent = count_sent(tp, COUNT_OBJECTS, typed), visited = 0;

	if (SKB_LONG(sent)) {
		visited = count_sent(tp, COUNT_CHARGE, typed);
		sent = whole_queue(r, sent, r->wmem_queued, visited);
	}
	*c = add_skbs(*c, sent);
	if (!live)
		return;
	__u64 bytes = count_sent(tp, COUNT_PAGE_CACHE, typed);

	l->page_cache = visited && visited < r->wmem_queued ? bytes * r->wmem_queued / visited : bytes;
}

/* What lies in a queue is charged to the socket, so that the charges tell whether there is anything to follow. */
static __always_inline void follow_queues(struct live_record *l, struct tcp_sock *tp, const bool typed)
{
	struct endpoint_record *r = &l->endpoint;
	__u64 c = 0;

	if (r->rmem_alloc) {
		c = count_received(tp, COUNT_OBJECTS, typed);
		if (SKB_LONG(c))
			c = whole_queue(r, c, r->rmem_alloc, count_received(tp, COUNT_CHARGE, typed));
	}
	if (r->wmem_queued)
		follow_sent(l, tp, &c, typed);
	r->objects[TYPE_SK_BUFF] = SKB_PLAIN(c);
	r->objects[TYPE_SK_BUFF_FCLONES] = SKB_FCLONES(c);
	r->objects[TYPE_SKB_HEAD] = SKB_HEADS(c);
	r->skb_head = SKB_HEAD_BYTES(c);
	if (SKB_TRUNCATED(c))
		r->flags |= WALK_TRUNCATED;
}

/* What tells where a sock comes from. sk_clone_lock() keeps a listener's sk_max_ack_backlog in the socks that it makes
 * of it, and takes SOCK_BINDPORT_LOCK from them; only listen() sets the one, only bind() to a port the other. */
static __always_inline void set_origin(struct endpoint_record *r, struct sock *sk, struct inet_bind_bucket *tb,
				       const bool typed)
{
	__u32 userlocks = LOAD_BITS(sk, sk_userlocks);

	if (userlocks & SOCK_BINDPORT_LOCK)
		r->binding |= BIND_LOCKED;
	if (bound_by_connect(userlocks, tb, typed))
		r->binding |= BIND_CONNECT;
	if (LOAD(sk, sk_max_ack_backlog) && r->state != TCP_LISTEN)
		r->flags |= WALK_CLONED;
	if (LOAD(sk, __sk_common.skc_flags) & 1ul << SOCK_DEAD)
		r->flags |= WALK_DEAD;
}

static __always_inline void follow_binds(struct endpoint_record *r, struct tcp_sock *tp, const bool typed)
{
	struct sock *sk = &tp->inet_conn.icsk_inet.sk;
	struct inet_bind_bucket *tb = LOAD(tp, inet_conn.icsk_bind_hash);
	struct inet_bind2_bucket *tb2 = bind2_of_sock(&tp->inet_conn, typed);

	set_binds(r, tb, tb2);
	if (tb && bind_is_sole(sk, tb, tb2, typed))
		r->binding |= BIND_SOLE;
	if (tb2 && bind2_is_sole(sk, tb2, typed))
		r->binding |= BIND2_SOLE;
	set_origin(r, sk, tb, typed);
}

static __always_inline void full_sock(struct live_record *l, struct tcp_sock *tp, const bool typed)
{
	struct endpoint_record *r = &l->endpoint;
	struct sock *sk = &tp->inet_conn.icsk_inet.sk;

	r->objects[TYPE_TCP_SOCK] = 1;
	r->objects[TYPE_LSM_SOCK] = LOAD(sk, sk_security) != NULL;
	set_cache(r, LOAD(LOAD(sk, sk_prot_creator), slab));
	follow_binds(r, tp, typed);

	r->rmem_alloc = LOAD(sk, sk_backlog.rmem_alloc.counter);
	r->wmem_queued = LOAD(sk, sk_wmem_queued);
	r->forward_alloc = LOAD(sk, sk_forward_alloc);
	r->backlog = LOAD(sk, sk_backlog.len);
	r->omem_alloc = LOAD(sk, sk_omem_alloc.counter);
	if (!is_asked(r)) {
		r->flags |= WALK_PASSED;
		return;
	}

	if (r->rmem_alloc || r->wmem_queued)
		follow_queues(l, tp, typed);

	if (r->state == TCP_LISTEN && BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only))
		r->flags |= WALK_V6ONLY;
	if (live)
		set_live(l, tp, typed);

	struct socket *sock = LOAD(sk, sk_socket);

	if (!sock) /* not accepted yet, or orphaned */
		return;
	r->objects[TYPE_SOCKET_ALLOC] = 1;
	struct file *file = LOAD(sock, file);

	if (file)
		follow_file(l, sock, file, typed);
}

static __always_inline void timewait_sock(struct live_record *l, struct tcp_timewait_sock *tw, const bool typed)
{
	struct endpoint_record *r = &l->endpoint;
	struct inet_timewait_sock *sk = &tw->tw_sk;

	r->objects[TYPE_TIMEWAIT_SOCK] = 1;
	r->state = LOAD(sk, tw_substate); /* an orphan in FIN_WAIT2 is kept as a timewait sock too */
	set_cache(r, LOAD(LOAD(LOAD(sk, __tw_common.skc_prot), twsk_prot), twsk_slab));
	set_binds(r, LOAD(sk, tw_tb), bind2_of_timewait(sk, typed));
	if (timewait_bound_by_connect(sk, typed))
		r->binding |= BIND_CONNECT;
}

static __always_inline void request_sock(struct live_record *l, struct tcp_request_sock *req, const bool typed)
{
	struct endpoint_record *r = &l->endpoint;

	r->objects[TYPE_REQUEST_SOCK] = 1;
	set_cache(r, LOAD(LOAD(req, req.req.rsk_ops), slab));
}

#endif
