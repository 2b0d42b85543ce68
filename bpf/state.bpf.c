//go:build ignore

// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The life of an endpoint: its state changes and its end. Where connect and accept cannot be hooked themselves,
 * their state changes stand in for them. */
#include "maps.h"
#include "ports.h"
#include "process.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* False where the connect hook reports who opened an endpoint; set before loading. */
const volatile bool state_reports_connect = true;

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_change, struct sock *sk, int oldstate, int newstate)
{
	if (!in_scope(sk->__sk_common.skc_net.net->ns.inum) || sk->sk_protocol != IPPROTO_TCP || !sock_counts(sk))
		return 0;
	struct cpu_counters *c = my_counters();

	if (!c)
		return 0;
	COUNT(c->state_changes);
	if (newstate == TCP_SYN_SENT) {
		/* tcp_v4_connect() sets it in the caller's context, before the SYN leaves. */
		COUNT(c->syn_sent);
		if (state_reports_connect)
			emit_endpoint(c, EVENT_OPEN, ROLE_CLIENT, sk, current_process());
	} else if (newstate == TCP_ESTABLISHED) {
		if (oldstate == TCP_SYN_SENT) {
			COUNT(c->client_established);
		} else if (oldstate == TCP_SYN_RECV) {
			/* Softirq context: the current task is not the one that will accept. */
			COUNT(c->server_established);
			emit_endpoint(c, EVENT_OPEN, ROLE_SERVER, sk, 0);
		}
	}
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(destroy, struct sock *sk)
{
	if (!in_scope(sk->__sk_common.skc_net.net->ns.inum) || !sock_counts(sk))
		return 0;
	struct cpu_counters *c = my_counters();

	if (!c)
		return 0;
	COUNT(c->destroyed);
	/* tcp_connect_init() clears it, and only the other end's SYN sets it. */
	bool came_up = BPF_CORE_READ((struct tcp_sock *)sk, rcv_nxt) != 0;

	emit_endpoint(c, came_up ? EVENT_CLOSE : EVENT_FAIL, ROLE_NONE, sk, 0);
	return 0;
}

/* Keeps the layout in the BTF, from which the Go type is made. */
const struct endpoint_event *unused_endpoint_event __attribute__((unused));

char LICENSE[] SEC("license") = "Dual MIT/GPL";
