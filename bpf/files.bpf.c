//go:build ignore

// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* The open files of all tasks that are TCP sockets, whatever network namespace these are in. Sockets that no table leads to
 * come with their endpoint. */
#define COMPAT_WALK
#include "compat.h"
#include "connprof.h"
#include "endpoint.h"
#include "kernel.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* A task's number in a PID namespace that is as deep as level, 0 where it has none there. */
static __always_inline __u32 number_in(struct pid *pid, struct pid_namespace *ns, __u32 level)
{
	struct upid *number = (void *)pid + bpf_core_field_offset(struct pid, numbers);

	if (level > BPF_CORE_READ(pid, level))
		return 0;
	number = (void *)number + level * bpf_core_type_size(struct upid);
	return BPF_CORE_READ(number, ns) == ns ? BPF_CORE_READ(number, nr) : 0;
}

/* The reader of the iterator is the current task. */
static __always_inline void set_task(struct file_record *f, struct task_struct *task)
{
	struct pid *reader = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), thread_pid);
	__u32 level = BPF_CORE_READ(reader, level);
	struct upid *number = (void *)reader + bpf_core_field_offset(struct pid, numbers);

	number = (void *)number + level * bpf_core_type_size(struct upid);
	struct pid_namespace *ns = BPF_CORE_READ(number, ns);

	f->pid = number_in(BPF_CORE_READ(task, group_leader, thread_pid), ns, level);
	f->tid = number_in(BPF_CORE_READ(task, thread_pid), ns, level);
	BPF_CORE_READ_STR_INTO(&f->comm, task, group_leader, comm);
}

/* A sock that is in no hash table is its file's alone: it is not bound, only bound, or it was reset. */
static __always_inline void set_unhashed(struct file_record *f, struct tcp_sock *tp, const bool typed)
{
	struct sock *sk = &tp->inet_conn.icsk_inet.sk;

	if (LOAD(sk, __sk_common.skc_nulls_node.pprev))
		return;
	f->live.endpoint.flags |= WALK_UNHASHED;
	set_addresses(&f->live.endpoint, &sk->__sk_common, typed);
	full_sock(&f->live, tp, typed);
}

/* The endpoint comes last: what follows it the verifier would go through for each way that leads through it. */
static __always_inline void write_file(struct bpf_iter__task_file *ctx, struct task_struct *task, struct file *file,
				       struct sock *sk, struct tcp_sock *tp, const bool typed)
{
	struct file_record f = {.live = {.idle = NOT_KNOWN, .age = NOT_KNOWN}};

	f.file = (__u64)file;
	f.sk = (__u64)sk;
	f.fd = ctx->fd;
	f.netns = LOAD(LOAD(sk, __sk_common.skc_net.net), ns.inum);
	set_task(&f, task);
	if (tp)
		set_unhashed(&f, tp, typed);
	bpf_seq_write(ctx->meta->seq, &f, sizeof(f));
}

static __always_inline struct tcp_sock *tcp_sock_untyped(struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	if (family != AF_INET && family != AF_INET6)
		return NULL;
	return BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP && BPF_CORE_READ(sk, sk_type) == SOCK_STREAM ? (void *)sk
													  : NULL;
}

/* MPTCP's own socks are not of the TCP protocol: its subflows are, and the walk finds them by the same file. */
static __always_inline bool is_mptcp(struct sock *sk, const bool typed)
{
	return LOAD(sk, sk_protocol) == IPPROTO_MPTCP;
}

SEC("iter/task_file")
int open_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *sock;
	struct sock *sk;
	struct tcp_sock *tp;

	if (!task || !file)
		return 0;
	if (HAVE_SOCK_FROM_FILE) {
		sock = bpf_sock_from_file(file);
		if (!sock || !(sk = sock->sk))
			return 0;
		tp = bpf_skc_to_tcp_sock(sk);
		if (tp || is_mptcp(sk, true))
			write_file(ctx, task, file, sk, tp, true);
		return 0;
	}
	sock = socket_of(file);
	if (!sock || !(sk = BPF_CORE_READ(sock, sk)))
		return 0;
	tp = tcp_sock_untyped(sk);
	if (tp || is_mptcp(sk, false))
		write_file(ctx, task, file, sk, tp, false);
	return 0;
}

/* Keeps it in the BTF, from which the Go type is made. */
const struct file_record *unused_file_record __attribute__((unused));

char LICENSE[] SEC("license") = "Dual MIT/GPL";
