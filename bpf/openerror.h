/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Why a connection does not come up, by what its sock says. */
#ifndef CONNPROF_OPENERROR_H
#define CONNPROF_OPENERROR_H

#include "compat.h"
#include "kernel.h"
#include "opens.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* include/uapi/asm-generic/errno.h and errno-base.h */
static __always_inline enum open_error error_of(struct sock *sk)
{
	switch (BPF_CORE_READ(sk, sk_err)) {
	case 0:
		/* close() and shutdown() say so before; of connect()'s own failures finding no port is the one that leaves no sequence
		 * number behind. */
		if (BPF_CORE_READ((struct tcp_sock *)sk, write_seq))
			return ERROR_GIVEN_UP;
		return ERROR_NO_ADDRESS;
	case 111:
		return ERROR_REFUSED;
	case 110:
		return ERROR_TIMED_OUT;
	case 104:
		return ERROR_RESET;
	case 101:
		return ERROR_NO_NETWORK;
	case 113:
		return ERROR_NO_HOST;
	case 1:
	case 13:
		return ERROR_NOT_PERMITTED;
	case 4:
		return ERROR_INTERRUPTED;
	}
	return ERROR_OTHER;
}

#endif
