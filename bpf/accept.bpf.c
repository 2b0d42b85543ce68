//go:build ignore

// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The accept hook: which process an established connection is handed to. */
#include "maps.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* inet_csk_accept() returns NULL when there is nothing to accept (EAGAIN): that is no connection. */
static __always_inline int on_accept(struct sock *sk)
{
	if (!sk || BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum) != target_netns)
		return 0;
	struct cpu_counters *c = my_counters();

	if (!c)
		return 0;
	c->accepts++;
	emit_endpoint(c, EVENT_ACCEPT, ROLE_SERVER, sk, current_tgid());
	return 0;
}

SEC("kretprobe/inet_csk_accept")
int BPF_KRETPROBE(accept_kretprobe, struct sock *sk)
{
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
