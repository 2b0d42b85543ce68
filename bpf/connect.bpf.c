//go:build ignore

// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The connect hook: who calls connect(), on the rungs that can hook the function itself. */
#include "maps.h"
#include "ports.h"
#include "process.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

static __always_inline int on_connect(struct sock *sk, struct sockaddr *uaddr)
{
	if (!in_scope(BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum)) || !address_counts(uaddr))
		return 0;
	struct cpu_counters *c = my_counters();

	if (!c)
		return 0;
	COUNT(c->connect_calls);
	emit_endpoint(c, EVENT_OPEN, ROLE_CLIENT, sk, current_process());
	return 0;
}

static __always_inline bool is_v4_mapped(const struct in6_addr *a)
{
	return a->in6_u.u6_addr32[0] == 0 && a->in6_u.u6_addr32[1] == 0 &&
	       a->in6_u.u6_addr32[2] == __builtin_bswap32(0xffff);
}

static __always_inline bool is_any(const struct in6_addr *a)
{
	return !(a->in6_u.u6_addr32[0] | a->in6_u.u6_addr32[1] | a->in6_u.u6_addr32[2] | a->in6_u.u6_addr32[3]);
}

/* tcp_v6_connect() hands IPv4-mapped addresses on to tcp_v4_connect(), which is hooked as well, and takes the
 * unspecified address for one where the socket is bound to one (052d2369d1b4). */
static __always_inline bool goes_to_v4(struct sock *sk, struct sockaddr *uaddr)
{
	struct in6_addr to, from;

	BPF_CORE_READ_INTO(&to, (struct sockaddr_in6 *)uaddr, sin6_addr);
	if (is_v4_mapped(&to))
		return true;
	BPF_CORE_READ_INTO(&from, sk, __sk_common.skc_v6_rcv_saddr);
	return is_any(&to) && is_v4_mapped(&from);
}

SEC("kprobe/tcp_v4_connect")
int BPF_KPROBE(connect_v4_kprobe, struct sock *sk, struct sockaddr *uaddr)
{
	return on_connect(sk, uaddr);
}

SEC("kprobe/tcp_v6_connect")
int BPF_KPROBE(connect_v6_kprobe, struct sock *sk, struct sockaddr *uaddr)
{
	return goes_to_v4(sk, uaddr) ? 0 : on_connect(sk, uaddr);
}

SEC("fentry/tcp_v4_connect")
int BPF_PROG(connect_v4_fentry, struct sock *sk, struct sockaddr *uaddr)
{
	return on_connect(sk, uaddr);
}

SEC("fentry/tcp_v6_connect")
int BPF_PROG(connect_v6_fentry, struct sock *sk, struct sockaddr *uaddr)
{
	return goes_to_v4(sk, uaddr) ? 0 : on_connect(sk, uaddr);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
