//go:build ignore

// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The accept hook: which process an established connection is handed to. */
#include "maps.h"
#include "ports.h"
#include "process.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* What the return probe has reported and security_sock_graft() is still to come for, by address. Where two socks meet in
 * one place within that moment, the first is reported twice, which says nothing new. */
#define HANDED_OUT 4096

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HANDED_OUT);
	__type(key, __u32);
	__type(value, __u64);
} handed_out SEC(".maps");

static __always_inline __u64 *place_of(struct sock *sk)
{
	__u32 at = (__u64)sk / 64 % HANDED_OUT;

	return bpf_map_lookup_elem(&handed_out, &at);
}

/* inet_csk_accept() returns NULL when there is nothing to accept (EAGAIN): that is no connection. */
static __always_inline int on_accept(struct sock *sk)
{
	if (!sk || !in_scope(BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum)) || !sock_counts(sk))
		return 0;
	struct cpu_counters *c = my_counters();

	if (!c)
		return 0;
	COUNT(c->accepts);
	emit_endpoint(c, EVENT_ACCEPT, ROLE_SERVER, sk, current_process());
	return 0;
}

SEC("kretprobe/inet_csk_accept")
int BPF_KRETPROBE(accept_kretprobe, struct sock *sk)
{
	__u64 *place = sk ? place_of(sk) : NULL;

	if (place)
		*place = (__u64)sk;
	return on_accept(sk);
}

/* A return probe takes only so many calls at a time (maxactive), which threads that wait in accept() use up; the
 * kernel leaves it out of the others. inet_accept() hands each sock that it got on to sock_graft(), still in accept(),
 * and a probe on an entry has no limit: this one reports what the return probe has not. */
SEC("kprobe/security_sock_graft")
int BPF_KPROBE(accept_graft_kprobe, struct sock *sk)
{
	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	__u64 *place = place_of(sk);

	if (place && *place == (__u64)sk) {
		*place = 0;
		return 0;
	}
	return on_accept(sk);
}

/* 92ef0fd55ac8 (6.10) changed inet_csk_accept(sk, flags, err, kern) to (sk, struct proto_accept_arg *): the
 * return value follows the arguments. The loader takes the program that fits. */
SEC("fexit/inet_csk_accept")
int BPF_PROG(accept_fexit_4_args, struct sock *listener, int flags, int *err, bool kern, struct sock *sk)
{
	return on_accept(sk);
}

SEC("fexit/inet_csk_accept")
int BPF_PROG(accept_fexit_2_args, struct sock *listener, void *arg, struct sock *sk)
{
	return on_accept(sk);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
