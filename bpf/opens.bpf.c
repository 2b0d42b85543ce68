//go:build ignore

// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Who opens connections, from where in the code, and what becomes of them. Nothing is reported for each: a map has one entry for
 * every open connection, another one the counts of each opener. */
#include "opens.h"
#include "compat.h"
#include "kernel.h"
#include "process.h"
#include "scope.h"
#include "openerror.h"
#include "openstack.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/* Set before loading. Where there is one, only what this process and its descendants open counts. */
const volatile __u32 followed = 0;
const volatile bool take_stacks = false;

/* Processes of which alone something counts; a length of 0: of all. */
const volatile __u32 asked_pids_len = 0;
const volatile __u32 asked_pids[ASKED_MAX] = {};

/* Until the time begins, and again once it is over. What is opened then is entered, so that it is known for what it is, and not
 * counted. */
bool late = true;

/* The loader sets the sizes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__type(key, __u64); /* struct sock */
	__type(value, struct open_socket);
} open_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct opener);
} openers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct service_key);
	__type(value, struct service);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct listener_key);
	__type(value, struct listener);
} listeners SEC(".maps");

/* All zero: what a new opener begins as. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct opener);
} blank SEC(".maps");

/* How deep a process may be below the one that is followed. */
#define ANCESTORS 16

/* Orphans are followed, too: connprof is their subreaper. */
static __always_inline bool is_followed(void)
{
	if (!followed)
		return true;
	struct task_struct *task = (void *)bpf_get_current_task();

	for (int i = 0; i < ANCESTORS; i++) {
		task = BPF_CORE_READ(task, real_parent);
		if (process_of(task) == followed)
			return true;
		if (BPF_CORE_READ(task, pid) <= 1)
			return false;
	}
	return false;
}

/* Whether what the current task does counts. */
static __always_inline bool counts(void)
{
	if (!asked_pids_len)
		return is_followed();
	__u32 pid = current_process();

#pragma unroll
	for (int i = 0; i < ASKED_MAX; i++)
		if (i < asked_pids_len && pid == asked_pids[i])
			return true;
	return false;
}

/* What comes in at a listener of a process that does not count does not either. Those that were there before are entered by user
 * space. */
static __always_inline bool listener_counts(__u32 netns, __u16 port)
{
	if (!followed && !asked_pids_len)
		return true;
	struct listener_key key = {.netns = netns, .port = port};
	struct listener *l = bpf_map_lookup_elem(&listeners, &key);

	return l && l->followed;
}

/* An opener's counts, made at its first connection. */
static __always_inline struct opener *row_of(__u64 id, __u32 pid, enum role role, bool named)
{
	struct opener *row = bpf_map_lookup_elem(&openers, &id);
	__u32 zero = 0;

	if (row)
		return row;
	struct opener *empty = bpf_map_lookup_elem(&blank, &zero);

	if (!empty)
		return NULL;
	bpf_map_update_elem(&openers, &id, empty, BPF_NOEXIST);
	row = bpf_map_lookup_elem(&openers, &id);
	if (!row)
		return NULL;
	/* Several CPUs write the same. */
	row->pid = pid;
	row->role = role;
	if (named)
		bpf_get_current_comm(row->comm, sizeof(row->comm));
	return row;
}

/* include/linux/sched.h: PF_IO_WORKER, PF_KTHREAD. io_uring's own threads are of the process, and have no user stack. */
#define KERNEL_THREAD (0x10 | 0x200000)

static __always_inline __u32 task_flags(void)
{
	return BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), flags);
}

/* The current task's code path, else its process. Where the openers' map is full it is number 0, which is there from the start. */
static __always_inline __u64 current_opener(struct open_counters *c, enum role role, struct opener **row)
{
	__u32 pid = current_process();
	__u64 id = 0;

	if (task_flags() & KERNEL_THREAD)
		id = OPENER(OPENER_KERNEL | role, pid);
	else if (take_stacks && pid)
		id = stack_opener(c, role, pid);
	if (id && (*row = row_of(id, pid, role, true)))
		return id;
	id = OPENER(OPENER_PROCESS | role, pid);
	*row = row_of(id, pid, role, true);
	if (*row)
		return id;
	COUNT(c->rows_full);
	*row = row_of(0, 0, ROLE_NONE, false);
	return 0;
}

static __always_inline __u32 lifetime_step(__u64 microseconds)
{
	__u64 v = microseconds;
	__u32 octave = 0;

	if (v < 4)
		return v;
#pragma unroll
	for (int bits = 32; bits; bits >>= 1)
		if (v >> bits) {
			v >>= bits;
			octave += bits;
		}
	__u32 step = octave * 4 + (microseconds >> (octave - 2) & 3);

	return step < LIFETIME_STEPS ? step : LIFETIME_STEPS - 1;
}

/* Counts the end of a connection that was seen to open. */
static __always_inline void count_close(struct open_counters *c, struct open_socket *o, bool came_up)
{
	struct opener *row = bpf_map_lookup_elem(&openers, &o->opener);

	COUNT(c->closed);
	if (!came_up)
		COUNT(c->failed);
	if (!row)
		return;
	COUNT(row->closed);
	if (!came_up) {
		__u32 error = o->error ? o->error : ERROR_GIVEN_UP;

		COUNT(row->failed);
		asm volatile("" : "+r"(error));
		if (error < ERROR_KINDS)
			COUNT(row->errors[error]);
		return;
	}
	__u32 step = lifetime_step((bpf_ktime_get_ns() - o->nanoseconds) / 1000);

	asm volatile(""
		     : "+r"(step)); /* the compiler knows its bound, and the verifier has to see that it is checked */
	if (step < LIFETIME_STEPS)
		COUNT(row->lifetimes[step]);
}

static __always_inline bool is_late(__u64 opener)
{
	return opener >> 32 == OPENER_LATE;
}

/* Counts the end of a connection whose sock has come to another one: the end was not seen, or the program connects it anew. Tells
 * whether there was one. */
static __always_inline bool replace(struct open_counters *c, __u64 key)
{
	struct open_socket *old = bpf_map_lookup_elem(&open_sockets, &key);

	if (old && !is_late(old->opener)) {
		COUNT(c->replaced);
		count_close(c, old, !old->error);
	}
	return old;
}

/* What opens and does not count may have the memory of one that did. */
static __always_inline void pass(struct open_counters *c, struct sock *sk)
{
	__u64 key = (__u64)sk;

	if (replace(c, key)) /* seldom: deleting what is not there takes the map's lock all the same */
		bpf_map_delete_elem(&open_sockets, &key);
}

/* Enters a connection. */
static __always_inline void enter(struct open_counters *c, struct sock *sk, __u64 opener, enum role role)
{
	__u64 key = (__u64)sk;

	replace(c, key);
	struct open_socket o = {.nanoseconds = bpf_ktime_get_ns(),
				.opener = opener,
				.role = role,
				.peer_port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport))};

	if (bpf_map_update_elem(&open_sockets, &key, &o, BPF_ANY))
		COUNT(c->map_full);
	if (!is_late(opener))
		COUNT(c->opened);
}

static __always_inline void count_service(struct sock *sk, __u32 netns, bool failed)
{
	struct service_key key = {.netns = netns, .family = sk->__sk_common.skc_family};
	struct service fresh = {.opened = !failed, .failed = failed};

	key.port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (key.family == AF_INET6)
		BPF_CORE_READ_INTO(&key.address, sk, __sk_common.skc_v6_daddr);
	else
		bpf_probe_read_kernel(key.address, 4, &sk->__sk_common.skc_daddr);
	struct service *s = bpf_map_lookup_elem(&services, &key);

	if (!s) {
		if (!bpf_map_update_elem(&services, &key, &fresh, BPF_NOEXIST))
			return;
		s = bpf_map_lookup_elem(&services, &key); /* another CPU's, else the map is full */
	}
	if (s && failed)
		COUNT(s->failed);
	else if (s)
		COUNT(s->opened);
}

static __always_inline void on_connect(struct open_counters *c, struct sock *sk, __u32 netns)
{
	struct opener *row = NULL;

	if (late) {
		enter(c, sk, OPENER(OPENER_LATE, 0), ROLE_CLIENT);
		return;
	}
	if (!counts()) {
		pass(c, sk);
		return;
	}
	__u64 id = current_opener(c, ROLE_CLIENT, &row);

	if (row)
		COUNT(row->opened);
	enter(c, sk, id, ROLE_CLIENT);
	count_service(sk, netns, false);
}

/* A handshake was completed, in softirq context: nobody has accepted it yet. */
static __always_inline void on_arrival(struct open_counters *c, struct sock *sk, __u32 netns)
{
	__u16 port = sk->__sk_common.skc_num;

	if (late) {
		enter(c, sk, OPENER(OPENER_LATE, 0), ROLE_SERVER);
		return;
	}
	if (!listener_counts(netns, port)) {
		pass(c, sk);
		return;
	}
	__u64 id = OPENER(OPENER_LISTENER | port, netns);
	struct opener *row = row_of(id, 0, ROLE_SERVER, false);

	if (!row) {
		COUNT(c->rows_full);
		id = 0;
		row = row_of(0, 0, ROLE_NONE, false);
	}
	if (row) {
		COUNT(row->opened);
		COUNT(row->arrived);
	}
	enter(c, sk, id, ROLE_SERVER);
}

static __always_inline void on_failure(struct sock *sk, __u32 netns)
{
	__u64 key = (__u64)sk;
	struct open_socket *o = bpf_map_lookup_elem(&open_sockets, &key);

	if (!o)
		return;
	o->error = error_of(sk);
	count_service(sk, netns, true);
}

static __always_inline void on_listen(struct sock *sk, __u32 netns)
{
	struct listener_key key = {.netns = netns, .port = sk->__sk_common.skc_num};
	struct listener l = {.pid = current_process(), .followed = counts()};

	bpf_get_current_comm(l.comm, sizeof(l.comm));
	bpf_map_update_elem(&listeners, &key, &l, BPF_ANY);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(opens_state_change, struct sock *sk, int oldstate, int newstate)
{
	/* Most changes are none of these: they are told apart by what is in registers. */
	bool connects = newstate == TCP_SYN_SENT, arrives = newstate == TCP_ESTABLISHED && oldstate == TCP_SYN_RECV;
	bool fails = newstate == TCP_CLOSE && oldstate == TCP_SYN_SENT, listens = newstate == TCP_LISTEN;

	if (!connects && !arrives && !fails && !listens)
		return 0;
	__u32 netns = sk->__sk_common.skc_net.net->ns.inum;

	if (!in_scope(netns) || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	struct open_counters *c = my_open_counters();

	if (!c)
		return 0;
	if (connects)
		on_connect(c, sk, netns);
	else if (arrives)
		on_arrival(c, sk, netns);
	else if (fails)
		on_failure(sk, netns);
	else
		on_listen(sk, netns);
	return 0;
}

/* A sock that nobody was seen to open: it was open before, or has never been connected. */
static __always_inline void count_stranger(struct open_counters *c, struct sock *sk)
{
	if (late)
		return;
	if (BPF_CORE_READ((struct tcp_sock *)sk, rcv_nxt)) {
		COUNT(c->closed_before);
		return;
	}
	/* Such a one is destroyed by whoever closes it. */
	if (!BPF_CORE_READ(sk, sk_max_ack_backlog) && !BPF_CORE_READ(sk, __sk_common.skc_dport) && counts())
		COUNT(c->never_connected);
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(opens_destroy, struct sock *sk)
{
	if (!in_scope(sk->__sk_common.skc_net.net->ns.inum))
		return 0;
	struct open_counters *c = my_open_counters();
	__u64 key = (__u64)sk;

	if (!c)
		return 0;
	struct open_socket *o = bpf_map_lookup_elem(&open_sockets, &key);

	if (!o) {
		count_stranger(c, sk);
		return 0;
	}
	if (is_late(o->opener)) /* the walk may have met it, and asks for it later */
		return 0;
	/* tcp_connect_init() clears rcv_nxt, and only the other end's SYN sets it. */
	count_close(c, o, !o->error && BPF_CORE_READ((struct tcp_sock *)sk, rcv_nxt));
	bpf_map_delete_elem(&open_sockets, &key);
	return 0;
}

/* accept() hands a connection to a process: it is that process's from now on, and its listener's no more. Several programs may
 * report the same. */
static __always_inline int on_accept(struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct open_socket *o = bpf_map_lookup_elem(&open_sockets, &key);
	struct opener *from, *to = NULL;
	struct open_counters *c;

	if (!o || o->role != ROLE_SERVER || o->accepted || is_late(o->opener) || !counts() ||
	    !(c = my_open_counters()))
		return 0;
	o->accepted = 1;
	__u64 id = current_opener(c, ROLE_SERVER, &to);

	if (!to)
		return 0;
	from = bpf_map_lookup_elem(&openers, &o->opener);
	if (from)
		UNCOUNT(from->opened);
	COUNT(to->opened);
	o->opener = id;
	return 0;
}

SEC("kprobe/security_sock_graft")
int BPF_KPROBE(opens_graft, struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP ? on_accept(sk) : 0;
}

SEC("kretprobe/inet_csk_accept")
int BPF_KRETPROBE(opens_accept_return, struct sock *sk)
{
	return sk ? on_accept(sk) : 0;
}

SEC("fexit/inet_csk_accept")
int BPF_PROG(opens_accept_4_args, struct sock *listener, int flags, int *err, bool kern, struct sock *sk)
{
	return sk ? on_accept(sk) : 0;
}

SEC("fexit/inet_csk_accept")
int BPF_PROG(opens_accept_2_args, struct sock *listener, void *arg, struct sock *sk)
{
	return sk ? on_accept(sk) : 0;
}

/* arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h */
static __always_inline bool is_accept(struct pt_regs *regs)
{
#if defined(__TARGET_ARCH_x86)
	long number = BPF_CORE_READ(regs, orig_ax);

	return number == 288 || number == 43;
#else
	int number = BPF_CORE_READ(regs, syscallno);

	return number == 242 || number == 202;
#endif
}

SEC("tp_btf/sys_exit")
int BPF_PROG(opens_sys_exit, struct pt_regs *regs, long returned)
{
	if (returned < 0 || !is_accept(regs))
		return 0;
	struct task_struct *task = (void *)bpf_get_current_task();
	struct file **files = BPF_CORE_READ(task, files, fdt, fd), *file = NULL;

	bpf_probe_read_kernel(&file, sizeof(file), &files[returned]);
	struct socket *sock = file ? socket_of(file) : NULL;
	struct sock *sk = sock ? BPF_CORE_READ(sock, sk) : NULL;

	return sk ? on_accept(sk) : 0;
}

/* Keeps the layouts in the BTF, from which the Go types are made. */
const struct stack_copy *unused_stack_copy __attribute__((unused));
const enum opener_bits *unused_opener_bits __attribute__((unused));
const enum open_error *unused_open_error __attribute__((unused));

char LICENSE[] SEC("license") = "Dual MIT/GPL";
