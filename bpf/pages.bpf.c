//go:build ignore

// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* What each CPU keeps of the pages that TCP has taken (tcp_memory_per_cpu_fw_alloc), in sum over all CPUs. */
#include "compat.h"
#include "kernel.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* Its address on a CPU is that of the CPU's own place for it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} places SEC(".maps");

struct bpf_array {
	void *pptrs[1];
} __attribute__((preserve_access_index));

__u32 socket_fd = 0; /* a TCP socket of the process that runs the program */
bool known = false;  /* whether the kernel has such a figure */
__s64 pages = 0;
volatile __u64 number = 0; /* a pointer that is put here is a number to the verifier when it is taken back */

#define CPUS_MAX 8192

struct cpu_loop {
	__u64 counter; /* the per-CPU address of what is summed */
	__u64 place;   /* and of the map's value */
};

static long one_cpu(__u32 cpu, struct cpu_loop *l)
{
	__u32 zero = 0;
	void *mine = bpf_map_lookup_percpu_elem(&places, &zero, cpu);
	int kept = 0;

	if (!mine)
		return 1;
	number = (__u64)mine;
	bpf_probe_read_kernel(&kept, sizeof(kept), (void *)(l->counter + number - l->place));
	pages += kept;
	return 0;
}

static __always_inline struct sock *sock_of_descriptor(__u32 fd)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct file **files = BPF_CORE_READ(task, files, fdt, fd), *file = NULL;

	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	struct socket *sock = BPF_CORE_READ(file, private_data);

	return BPF_CORE_READ(sock, sk);
}

SEC("syscall")
int sum_cpu_pages(void *ctx)
{
	struct proto___6_0 *proto = (void *)BPF_CORE_READ(sock_of_descriptor(socket_fd), __sk_common.skc_prot);
	struct cpu_loop l = {};

	pages = 0;
	known = bpf_core_field_exists(proto->per_cpu_fw_alloc);
	if (!known)
		return 0;
	l.counter = (__u64)BPF_CORE_READ(proto, per_cpu_fw_alloc);
	number = (__u64)&places;
	bpf_probe_read_kernel(&l.place, sizeof(l.place),
			      (void *)(number + bpf_core_field_offset(struct bpf_array, pptrs)));
	bpf_loop(CPUS_MAX, one_cpu, &l, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
