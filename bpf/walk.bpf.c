//go:build ignore

// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The walk: visits every endpoint of the reader's network namespace and writes down what hangs on it. */
#define COMPAT_WALK
#include "compat.h"
#include "connprof.h"
#include "endpoint.h"
#include <bpf/bpf_helpers.h>

SEC("iter/tcp")
int walk_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;

	if (!skc)
		return 0;
	struct live_record l = {.idle = NOT_KNOWN, .age = NOT_KNOWN};
	struct tcp_sock *tp;
	struct tcp_timewait_sock *tw;
	struct tcp_request_sock *req;

	set_addresses(&l.endpoint, skc, true);
	if ((tp = bpf_skc_to_tcp_sock(skc)))
		full_sock(&l, tp, true);
	else if ((tw = bpf_skc_to_tcp_timewait_sock(skc)))
		timewait_sock(&l, tw, true);
	else if ((req = bpf_skc_to_tcp_request_sock(skc)))
		request_sock(&l, req, true);
	bpf_seq_write(ctx->meta->seq, &l, live ? sizeof(l) : sizeof(l.endpoint));
	return 0;
}

/* Keeps them in the BTF, from which the Go types are made. */
const struct live_record *unused_live_record __attribute__((unused));
const enum object_type *unused_object_type __attribute__((unused));

char LICENSE[] SEC("license") = "Dual MIT/GPL";
