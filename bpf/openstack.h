/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Which code path the current task is in, by its user stack. Frame pointers give most programs one frame, so the stack is copied and
 * unwound in user space, which tells where on it the return addresses lie. From then on comparing these is enough. */
#ifndef CONNPROF_OPENSTACK_H
#define CONNPROF_OPENSTACK_H

#include "compat.h"
#include "counters.h"
#include "kernel.h"
#include "opens.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* Copies every stack, so that what was recognised can be held against it. */
const volatile bool copy_always = false;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} stack_copies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct stack_key);
	__type(value, struct learned_stack);
} learned_stacks SEC(".maps");

/* How many stacks may be copied in all: user space raises it as time goes on. The second one counts. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} copy_budget SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct open_counters);
} open_counts SEC(".maps");

static __always_inline struct open_counters *my_open_counters(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&open_counts, &zero);
}

#define UNCOUNT(counter) ((void)__sync_fetch_and_add(&(counter), -1))

/* d6aef08a872b (5.15) added bpf_task_pt_regs(). Before that they are where the kernel's stack begins; THREAD_SIZE is 16 KiB with
 * pages of 4 KiB. */
#define HAVE_TASK_PT_REGS bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)
#define THREAD_SIZE 16384

static __always_inline struct pt_regs *user_registers(void)
{
	if (HAVE_TASK_PT_REGS)
		return (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, stack) + THREAD_SIZE - bpf_core_type_size(struct pt_regs);
}

#if defined(__TARGET_ARCH_x86)
#define USER_SP(r) BPF_CORE_READ(r, sp)
#define USER_IP(r) BPF_CORE_READ(r, ip)
#else
#define USER_SP(r) BPF_CORE_READ(r, user_regs.sp)
#define USER_IP(r) BPF_CORE_READ(r, user_regs.pc)
#endif

static __always_inline void copy_registers(struct stack_copy *s, struct pt_regs *r)
{
#if defined(__TARGET_ARCH_x86)
	s->registers[0] = BPF_CORE_READ(r, ax);
	s->registers[1] = BPF_CORE_READ(r, dx);
	s->registers[2] = BPF_CORE_READ(r, cx);
	s->registers[3] = BPF_CORE_READ(r, bx);
	s->registers[4] = BPF_CORE_READ(r, si);
	s->registers[5] = BPF_CORE_READ(r, di);
	s->registers[6] = BPF_CORE_READ(r, bp);
	s->registers[7] = BPF_CORE_READ(r, sp);
	s->registers[8] = BPF_CORE_READ(r, r8);
	s->registers[9] = BPF_CORE_READ(r, r9);
	s->registers[10] = BPF_CORE_READ(r, r10);
	s->registers[11] = BPF_CORE_READ(r, r11);
	s->registers[12] = BPF_CORE_READ(r, r12);
	s->registers[13] = BPF_CORE_READ(r, r13);
	s->registers[14] = BPF_CORE_READ(r, r14);
	s->registers[15] = BPF_CORE_READ(r, r15);
	s->registers[16] = BPF_CORE_READ(r, ip);
	for (int i = 17; i < REGISTERS; i++)
		s->registers[i] = 0;
#else
	for (int i = 0; i < 31; i++)
		bpf_core_read(&s->registers[i], sizeof(__u64), &r->user_regs.regs[i]);
	s->registers[31] = USER_SP(r);
	s->registers[32] = USER_IP(r);
#endif
}

/* Copies piece by piece, so that all is had up to where the stack's mapping ends. No piece lies on both sides of that. */
static __always_inline __u32 copy_memory(struct stack_copy *s, __u64 sp)
{
	__u32 first = COPY_STEP - (sp & (COPY_STEP - 1)), done = 0;

	if (first > COPY_STEP || bpf_probe_read_user(s->memory, first, (void *)sp))
		return 0;
	done = first;
	for (int i = 0; i < STACK_COPY / COPY_STEP - 1; i++) {
		if (bpf_probe_read_user(s->memory + first + i * COPY_STEP, COPY_STEP,
					(void *)(sp + first + i * COPY_STEP)))
			break;
		done += COPY_STEP;
	}
	return done;
}

static __always_inline bool matches(struct learned_stack *l, __u64 sp)
{
	for (int i = 0; i < STACK_SLOTS; i++) {
		if (i >= l->n)
			break;
		__u64 value = 0;
		long failed = bpf_probe_read_user(&value, sizeof(value), (void *)(sp + l->offsets[i]));

		/* One branch: the verifier keeps 8,192 on its way at most. */
		if (failed | (value ^ l->values[i]))
			return false;
	}
	return true;
}

/* Tells what a process executes, and its children until they execute something else. */
static __always_inline __u64 program_of(struct mm_struct *mm)
{
	return (__u64)BPF_CORE_READ(mm, exe_file, f_inode) ^ BPF_CORE_READ(mm, start_stack);
}

/* The number of the path that the stack is known to be, 0 where it is not known. */
static __always_inline __u32 recognise(__u64 ip, __u64 sp, __u64 program)
{
	struct stack_key key = {.ip = ip, .program = program, .sp = sp & 4095};

	for (int way = 0; way < STACK_WAYS; way++) {
		key.way = way;
		struct learned_stack *l = bpf_map_lookup_elem(&learned_stacks, &key);

		if (!l)
			return 0;
		if (matches(l, sp))
			return l->path;
	}
	return 0;
}

static __always_inline bool may_copy(void)
{
	__u32 allowed_at = 0, used_at = 1;
	__u64 *allowed = bpf_map_lookup_elem(&copy_budget, &allowed_at),
	      *used = bpf_map_lookup_elem(&copy_budget, &used_at);

	if (!allowed || !used || *used >= *allowed)
		return false;
	COUNT(*used);
	return true;
}

/* Copies the stack and gives the number that the connection is counted under until it is unwound; 0 where there was no room or
 * no leave. */
static __always_inline __u64 copy_stack(struct open_counters *c, struct pt_regs *r, struct mm_struct *mm,
					enum role role, __u32 pid, __u32 learned)
{
	struct stack_copy *s = may_copy() ? bpf_ringbuf_reserve(&stack_copies, sizeof(*s), 0) : NULL;

	if (!s) {
		COUNT(c->not_copied);
		return 0;
	}
	/* Two CPUs may do this at the same time. */
	s->opener = (__u64)OPENER_SAMPLE << 32 | (bpf_ktime_get_ns() << 10 & 0x7fffffffffffffff) |
		    (bpf_get_smp_processor_id() & 1023);
	s->learned = learned;
	s->program = program_of(mm);
	s->start_stack = BPF_CORE_READ(mm, start_stack);
	s->pid = pid;
	s->tid = bpf_get_current_pid_tgid();
	s->role = role;
	s->pad[0] = s->pad[1] = s->pad[2] = 0;
	bpf_get_current_comm(s->comm, sizeof(s->comm));
	copy_registers(s, r);
	s->len = copy_memory(s, USER_SP(r));
	__u64 id = s->opener;

	bpf_ringbuf_submit(s, 0);
	COUNT(c->copied);
	return id;
}

static __always_inline __u64 stack_opener(struct open_counters *c, enum role role, __u32 pid)
{
	struct pt_regs *r = user_registers();
	__u64 ip = USER_IP(r), sp = USER_SP(r);
	struct mm_struct *mm = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), mm);
	__u64 program = program_of(mm);
	__u32 path = recognise(ip, sp, program);

	if (path) {
		COUNT(c->recognised);
		if (copy_always)
			copy_stack(c, r, mm, role, pid, path);
		return OPENER(path, pid);
	}
	return copy_stack(c, r, mm, role, pid, 0);
}

#endif
