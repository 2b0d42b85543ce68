/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Which endpoints a look at a running host is asked for, by what their addresses and states tell. The others count in the
 * kernel's books, and what hangs on them is not followed. */
#ifndef CONNPROF_ASKED_H
#define CONNPROF_ASKED_H

#include "connprof.h"

/* Set before loading: the verifier leaves out what is not asked. A length of 0 asks for all. */
const volatile __u32 asked_netns_len = 0;
const volatile __u32 asked_ports_len = 0;
const volatile __u32 asked_netns[ASKED_MAX] = {};
const volatile __u16 asked_ports[ASKED_MAX] = {};
const volatile __u32 asked_states = 0; /* a bit each; 0 asks for all */

static __always_inline bool netns_asked(const struct endpoint_record *r)
{
	if (!asked_netns_len)
		return true;
#pragma unroll
	for (int i = 0; i < ASKED_MAX; i++)
		if (i < asked_netns_len && r->netns == asked_netns[i])
			return true;
	return false;
}

static __always_inline bool port_asked(const struct endpoint_record *r)
{
	if (!asked_ports_len)
		return true;
#pragma unroll
	for (int i = 0; i < ASKED_MAX; i++)
		if (i < asked_ports_len && (r->local_port == asked_ports[i] || r->remote_port == asked_ports[i]))
			return true;
	return false;
}

/* A listener is followed in any case: its connections are told by it. */
static __always_inline bool is_asked(const struct endpoint_record *r)
{
	if (r->state == TCP_LISTEN)
		return true;
	if (asked_states && !(asked_states >> (r->state & 31) & 1))
		return false;
	return netns_asked(r) && port_asked(r);
}

#endif
