/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Which endpoints of the namespace count where it is not the run's own: those of its server ports. */
#ifndef CONNPROF_PORTS_H
#define CONNPROF_PORTS_H

#include "connprof.h"
#include "kernel.h"
#include <bpf/bpf_core_read.h>

/* Set before loading, as are the ports, lowest and highest. */
const volatile enum port_side ports_side = PORTS_ALL;
const volatile __u16 ports_low = 0;
const volatile __u16 ports_high = 0;

static __always_inline bool port_counts(__be16 port)
{
	__u16 p = __builtin_bswap16(port);

	return p >= ports_low && p <= ports_high;
}

/* inet_num is gone once the port is given back (__inet_put_port); inet_sport stays. */
static __always_inline bool sock_counts(struct sock *sk)
{
	if (ports_side == PORTS_LOCAL)
		return port_counts(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	if (ports_side == PORTS_REMOTE)
		return port_counts(BPF_CORE_READ(sk, __sk_common.skc_dport));
	return true;
}

/* A connect() that has only begun: its sock knows no port yet. The port lies at one place for both families. */
static __always_inline bool address_counts(struct sockaddr *to)
{
	__be16 port;

	if (ports_side != PORTS_REMOTE)
		return ports_side == PORTS_ALL;
	BPF_CORE_READ_INTO(&port, (struct sockaddr_in *)to, sin_port);
	return port_counts(port);
}

#endif
