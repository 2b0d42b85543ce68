/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Which process the current task is of, by the number that connprof itself knows it by. */
#ifndef CONNPROF_PROCESS_H
#define CONNPROF_PROCESS_H

#include "compat.h"
#include "kernel.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* connprof's pid namespace (nsfs inode number), set before loading; 0: the first one, whose numbers are the kernel's own. */
const volatile __u32 own_pidns = 0;

/* include/linux/pid_namespace.h: MAX_PID_NS_LEVEL, and the first one. */
#define PIDNS_LEVELS 33

/* The process's number in connprof's pid namespace; 0 where it has none there, as the kernel's own threads and the processes
 * outside of it. It is pid_nr_ns(): bpf_get_ns_current_pid_tgid() knows no process of a namespace below. A process's own
 * namespace is the last of its numbers, and the first to be asked. */
static __always_inline __u32 number_in_own_pidns(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, group_leader, thread_pid);
	int level = BPF_CORE_READ(pid, level);

	for (int i = 0; i < PIDNS_LEVELS && level >= 0; i++, level--) {
		struct upid *upid = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
				    (__u32)level * bpf_core_type_size(struct upid);

		if (BPF_CORE_READ(upid, ns, ns.inum) == own_pidns)
			return BPF_CORE_READ(upid, nr);
	}
	return 0;
}

/* The number of any task's process. */
static __always_inline __u32 process_of(struct task_struct *task)
{
	return own_pidns ? number_in_own_pidns(task) : BPF_CORE_READ(task, tgid);
}

/* The JIT replaces bpf_get_current_task_btf() by one load since 6.14; bpf_get_current_pid_tgid() stays a call. In softirq
 * context the current task is whoever was interrupted. */
static __always_inline __u32 current_process(void)
{
	if (own_pidns)
		return number_in_own_pidns((void *)bpf_get_current_task());
	if (HAVE_CURRENT_TASK_BTF) {
		struct task_struct *task = bpf_get_current_task_btf();

		return task->tgid;
	}
	return bpf_get_current_pid_tgid() >> 32;
}

#endif
