//go:build ignore

// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The walk: visits every endpoint of the reader's network namespace and writes down what hangs on it. */
#define COMPAT_WALK
#include "caches.h"
#include "compat.h"
#include "connprof.h"
#include "queues.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

static __always_inline void set_addresses(struct endpoint_record *r, struct sock_common *skc)
{
	r->netns = skc->skc_net.net->ns.inum;
	r->family = skc->skc_family;
	r->state = skc->skc_state;
	r->local_port = skc->skc_num;
	r->remote_port = __builtin_bswap16(skc->skc_dport);
	if (r->family == AF_INET6) {
		*(struct in6_addr *)r->local = skc->skc_v6_rcv_saddr;
		*(struct in6_addr *)r->remote = skc->skc_v6_daddr;
		return;
	}
	*(__be32 *)r->local = skc->skc_rcv_saddr;
	*(__be32 *)r->remote = skc->skc_daddr;
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

static __always_inline void follow_file(struct endpoint_record *r, struct socket *sock, struct file *file)
{
	r->file = (__u64)file;
	r->objects[TYPE_FILE] = 1;
	r->objects[TYPE_DENTRY] = file->f_path.dentry != NULL;
	r->objects[TYPE_LSM_FILE] = file->f_security != NULL;
	r->objects[TYPE_LSM_INODE] = file->f_inode->i_security != NULL;
	__u64 address; /* the same as file, but a number to the verifier */

	BPF_CORE_READ_INTO(&address, sock, file);
	__u64 c = count_epoll(address);

	r->objects[TYPE_EPITEM] = EPOLL_EPITEMS(c);
	r->objects[TYPE_EPPOLL_ENTRY] = EPOLL_ENTRIES(c);
	r->objects[TYPE_EPITEMS_HEAD] = EPOLL_HEADS(c);
	if (EPOLL_TRUNCATED(c))
		r->flags |= WALK_TRUNCATED;
}

static __always_inline void set_skbs(struct endpoint_record *r, enum object_type type, __u32 n)
{
	if (n > 255) {
		n = 255;
		r->flags |= WALK_TRUNCATED;
	}
	r->objects[type] = n;
}

/* The first of a list points back to the list: its address, as a number to the verifier. */
#define ADDRESS(list) ((__u64)BPF_CORE_READ((list).next, prev))

/* What lies in a queue is charged to the socket, so that the charges tell whether there is anything to follow. */
static __always_inline void follow_queues(struct endpoint_record *r, struct sock *sk, struct tcp_sock *tp)
{
	__u64 c = 0, root;

	if (r->rmem_alloc) {
		c = count_list(ADDRESS(sk->sk_receive_queue), c);
		c = count_list(ADDRESS(sk->sk_error_queue), c);
		BPF_CORE_READ_INTO(&root, tp, out_of_order_queue.rb_node);
		c = count_tree(root, c);
	}
	if (r->wmem_queued) {
		c = count_list(ADDRESS(sk->sk_write_queue), c);
		BPF_CORE_READ_INTO(&root, sk, tcp_rtx_queue.rb_node);
		c = count_tree(root, c);
	}
	set_skbs(r, TYPE_SK_BUFF, SKB_PLAIN(c));
	set_skbs(r, TYPE_SK_BUFF_FCLONES, SKB_FCLONES(c));
	set_skbs(r, TYPE_SKB_HEAD, SKB_HEADS(c));
	r->skb_head = SKB_HEAD_BYTES(c);
	if (SKB_TRUNCATED(c))
		r->flags |= WALK_TRUNCATED;
}

/* What tells where a sock comes from. sk_clone_lock() keeps a listener's sk_max_ack_backlog in the socks that it makes
 * of it, and takes SOCK_BINDPORT_LOCK from them; only listen() sets the one, only bind() to a port the other. */
static __always_inline void set_origin(struct endpoint_record *r, struct sock *sk, struct inet_bind_bucket *tb)
{
	__u32 userlocks = BPF_CORE_READ_BITFIELD(sk, sk_userlocks);

	if (userlocks & SOCK_BINDPORT_LOCK)
		r->binding |= BIND_LOCKED;
	if (bound_by_connect(userlocks, tb))
		r->binding |= BIND_CONNECT;
	if (sk->sk_max_ack_backlog && r->state != TCP_LISTEN)
		r->flags |= WALK_CLONED;
	if (sk->__sk_common.skc_flags & 1ul << SOCK_DEAD)
		r->flags |= WALK_DEAD;
}

static __always_inline void full_sock(struct endpoint_record *r, struct tcp_sock *tp)
{
	struct sock *sk = &tp->inet_conn.icsk_inet.sk;

	r->objects[TYPE_TCP_SOCK] = 1;
	r->objects[TYPE_LSM_SOCK] = sk->sk_security != NULL;
	set_cache(r, sk->sk_prot_creator->slab);
	struct inet_bind_bucket *tb = tp->inet_conn.icsk_bind_hash;
	struct inet_bind2_bucket *tb2 = bind2_of_sock(&tp->inet_conn);

	set_binds(r, tb, tb2);
	if (tb && bind_is_sole(sk, tb, tb2))
		r->binding |= BIND_SOLE;
	if (tb2 && bind2_is_sole(sk, tb2))
		r->binding |= BIND2_SOLE;
	set_origin(r, sk, tb);

	r->rmem_alloc = sk->sk_backlog.rmem_alloc.counter;
	r->wmem_queued = sk->sk_wmem_queued;
	r->forward_alloc = sk->sk_forward_alloc;
	r->backlog = sk->sk_backlog.len;
	r->omem_alloc = sk->sk_omem_alloc.counter;

	if (r->rmem_alloc || r->wmem_queued)
		follow_queues(r, sk, tp);

	if (r->state == TCP_LISTEN && BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only))
		r->flags |= WALK_V6ONLY;

	struct socket *sock = sk->sk_socket;

	if (!sock) /* not accepted yet, or orphaned */
		return;
	r->objects[TYPE_SOCKET_ALLOC] = 1;
	struct file *file = sock->file;

	if (file)
		follow_file(r, sock, file);
}

SEC("iter/tcp")
int walk_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;

	if (!skc)
		return 0;
	struct endpoint_record r = {};
	struct tcp_sock *tp;
	struct tcp_timewait_sock *tw;
	struct tcp_request_sock *req;

	r.sk = (__u64)skc;
	set_addresses(&r, skc);
	if ((tp = bpf_skc_to_tcp_sock(skc))) {
		full_sock(&r, tp);
	} else if ((tw = bpf_skc_to_tcp_timewait_sock(skc))) {
		r.objects[TYPE_TIMEWAIT_SOCK] = 1;
		r.state = tw->tw_sk.tw_substate; /* an orphan in FIN_WAIT2 is kept as a timewait sock too */
		set_cache(&r, skc->skc_prot->twsk_prot->twsk_slab);
		set_binds(&r, tw->tw_sk.tw_tb, bind2_of_timewait(&tw->tw_sk));
		if (timewait_bound_by_connect(&tw->tw_sk))
			r.binding |= BIND_CONNECT;
	} else if ((req = bpf_skc_to_tcp_request_sock(skc))) {
		r.objects[TYPE_REQUEST_SOCK] = 1;
		set_cache(&r, req->req.req.rsk_ops->slab);
	}
	bpf_seq_write(ctx->meta->seq, &r, sizeof(r));
	return 0;
}

/* Keeps them in the BTF, from which the Go types are made. */
const struct endpoint_record *unused_endpoint_record __attribute__((unused));
const enum object_type *unused_object_type __attribute__((unused));

char LICENSE[] SEC("license") = "Dual MIT/GPL";
