/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What a look at a running host asks of an endpoint beside its objects. */
#ifndef CONNPROF_LIVE_H
#define CONNPROF_LIVE_H

#include "compat.h"
#include "connprof.h"
#include "kernel.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

const volatile bool live = false;
/* From one jiffy to the next. */
const volatile __u32 tick_nanoseconds = 4000000;

/* A stamp in jiffies. Of a socket that has never been connected it is 0. */
#define SINCE(stamp) ((stamp) ? (__u32)(now - (stamp)) : NEVER)
#define NEVER (~0u)

static __always_inline __u32 longer(__u32 a, __u32 b)
{
	return a != NEVER && a > b ? a : b;
}

/* lsndtime and lrcvtime are those of data, which a keepalive is not. They and two more are set when the connection
 * comes up and again later: the oldest is the least that the socket's age can be. */
static __always_inline void set_times(struct live_record *l, struct tcp_sock *tp, const bool typed)
{
	__u32 now = bpf_jiffies64();
	__u32 sent = SINCE(LOAD(tp, lsndtime)), received = SINCE(LOAD(tp, inet_conn.icsk_ack.lrcvtime));
	__u32 window = SINCE(LOAD(tp, snd_cwnd_stamp));

	if (sent == NEVER && received == NEVER)
		return;
	l->idle = (__u64)(sent < received ? sent : received) * tick_nanoseconds;
	__u32 oldest = longer(sent, longer(received, longer(window, 0)));

	l->age = (__u64)oldest * tick_nanoseconds;
	__u64 space = LOAD(tp, rcvq_space.time); /* in microseconds */

	if (space) {
		__s64 age = bpf_ktime_get_ns() - space * 1000;

		if (age > l->age)
			l->age = age;
	}
}

static __always_inline void set_live(struct live_record *l, struct tcp_sock *tp, const bool typed)
{
	struct sock *sk = &tp->inet_conn.icsk_inet.sk;

	l->uid = LOAD(sk, sk_uid.val);
	l->cgroup = cgroup_of(sk, typed);
	if (is_subflow(tp, typed))
		l->endpoint.flags |= WALK_MPTCP;
	if (l->endpoint.state == TCP_LISTEN) {
		l->accept_queue = LOAD(sk, sk_ack_backlog);
		l->accept_max = LOAD(sk, sk_max_ack_backlog);
		return;
	}
	l->unread = LOAD(tp, rcv_nxt) - LOAD(tp, copied_seq);
	l->unacked = LOAD(tp, write_seq) - LOAD(tp, snd_una);
	set_times(l, tp, typed);
}

#endif
