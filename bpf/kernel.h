/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The kernel's structures, cut down to the members the programs read. CO-RE finds each member's real offset in
 * the running kernel's BTF, so order and neighbours do not matter here; names and types do. What differs between
 * kernel versions stands in compat.h instead. */
#ifndef CONNPROF_KERNEL_H
#define CONNPROF_KERNEL_H

#include <linux/bpf.h>
#include <linux/types.h>

/* Tells bpf_tracing.h to use the kernel's own register names; the register files follow. */
#define __VMLINUX_H__

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262
#define SOCK_STREAM 1

/* include/net/tcp_states.h */
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT,
	TCP_SYN_RECV,
	TCP_FIN_WAIT1,
	TCP_FIN_WAIT2,
	TCP_TIME_WAIT,
	TCP_CLOSE,
	TCP_CLOSE_WAIT,
	TCP_LAST_ACK,
	TCP_LISTEN,
	TCP_CLOSING,
	TCP_NEW_SYN_RECV,
};

/* include/net/sock.h: the first of enum sock_flags, a bit number; bits of sk_userlocks. */
#define SOCK_DEAD 0
#define SOCK_BINDPORT_LOCK 8
#define SOCK_CONNECT_BIND 16 /* see bound_by_connect() */

typedef unsigned int gfp_t;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r15;
	unsigned long r14;
	unsigned long r13;
	unsigned long r12;
	unsigned long bp;
	unsigned long bx;
	unsigned long r11;
	unsigned long r10;
	unsigned long r9;
	unsigned long r8;
	unsigned long ax;
	unsigned long cx;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
	unsigned long ip;
	unsigned long sp;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	__u64 regs[31];
	__u64 sp;
	__u64 pc;
	__u64 pstate;
};
struct pt_regs {
	struct user_pt_regs user_regs;
	__s32 syscallno;
};
#endif

struct hlist_node {
	struct hlist_node *next;
};

struct hlist_head {
	struct hlist_node *first;
};

struct list_head {
	struct list_head *next;
};

struct proc_ns_operations;

struct ns_common {
	const struct proc_ns_operations *ops;
	unsigned int inum;
};

struct hlist_nulls_node {
	struct hlist_nulls_node *next;
	struct hlist_nulls_node **pprev;
};

struct hlist_nulls_head {
	struct hlist_nulls_node *first;
};

struct inet_ehash_bucket {
	struct hlist_nulls_head chain;
};

struct inet_listen_hashbucket {
	struct hlist_nulls_head nulls_head;
};

struct inet_hashinfo {
	struct inet_ehash_bucket *ehash;
	unsigned int ehash_mask;
	unsigned int lhash2_mask;
	struct inet_listen_hashbucket *lhash2;
};

struct inet_timewait_death_row {
	struct inet_hashinfo *hashinfo;
};

struct netns_ipv4 {
	struct inet_timewait_death_row tcp_death_row;
};

struct net {
	struct list_head list;
	struct ns_common ns;
	struct netns_ipv4 ipv4;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct nsproxy {
	struct net *net_ns;
};

struct pid_namespace {
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1]; /* one for each level */
};

struct files_struct;
struct file;

struct mm_struct {
	struct file *exe_file;
	unsigned long start_stack;
};

struct task_struct {
	struct mm_struct *mm;
	struct nsproxy *nsproxy;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	struct files_struct *files;
	struct task_struct *real_parent;
	void *stack;
	unsigned int flags;
	int pid;
	int tgid;
	char comm[16];
};

struct kmem_cache_order_objects {
	unsigned int x;
};

struct kmem_cache {
	const char *name;
	unsigned int size;
	unsigned int object_size;
	struct kmem_cache_order_objects oo;
	unsigned int flags;
};

struct timewait_sock_ops {
	struct kmem_cache *twsk_slab;
};

struct request_sock_ops {
	struct kmem_cache *slab;
};

struct proto {
	struct kmem_cache *slab;
	struct timewait_sock_ops *twsk_prot;
};

struct in6_addr {
	union {
		__u8 u6_addr8[16];
		__be32 u6_addr32[4];
	} in6_u;
};

struct sockaddr_in {
	__be16 sin_port;
};

struct sockaddr_in6 {
	struct in6_addr sin6_addr;
};

struct sockaddr;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned char skc_ipv6only : 1;
	struct proto *skc_prot;
	possible_net_t skc_net;
	unsigned long skc_flags;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	struct hlist_node skc_bind_node;
	struct hlist_nulls_node skc_nulls_node;
};

struct dentry;

struct super_block {
	unsigned long s_magic;
};

struct inode {
	unsigned long i_ino;
	struct super_block *i_sb;
	void *i_security;
};

struct path {
	struct dentry *dentry;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
	void *f_security;
	void *private_data;
};

struct fdtable {
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct sock;

struct socket {
	struct file *file;
	struct sock *sk;
};

typedef struct {
	unsigned int val;
} kuid_t;

struct kernfs_node {
	__u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	atomic_t refs;
} refcount_t;

struct rb_node {
	unsigned long __rb_parent_color;
	struct rb_node *rb_right;
	struct rb_node *rb_left;
};

struct rb_root {
	struct rb_node *rb_node;
};

struct skb_shared_info {
	__u8 tx_flags;
	atomic_t dataref;
};

/* include/linux/skbuff.h */
enum {
	SKB_FCLONE_UNAVAILABLE,
	SKB_FCLONE_ORIG,
	SKB_FCLONE_CLONE,
};

struct sk_buff {
	struct sk_buff *next;
	struct sk_buff *prev;
	struct rb_node rbnode;
	__u8 cloned : 1;
	__u8 fclone : 2;
	__u8 head_frag : 1;
	unsigned int data_len;
	unsigned int truesize;
	unsigned int end; /* an offset from head on 64-bit machines */
	unsigned char *head;
};

struct sk_buff_fclones {
	struct sk_buff skb2;
	refcount_t fclone_ref;
};

struct sk_buff_head {
	struct sk_buff *next;
};

struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
	struct proto *sk_prot_creator;
	void *sk_security;
	struct sk_buff_head sk_error_queue;
	struct sk_buff_head sk_receive_queue;
	struct {
		atomic_t rmem_alloc;
		int len;
	} sk_backlog;
	struct rb_root tcp_rtx_queue;
	struct sk_buff_head sk_write_queue;
	int sk_wmem_queued;
	int sk_forward_alloc;
	atomic_t sk_omem_alloc;
	__u16 sk_type;
	__u16 sk_protocol;
	__u32 sk_ack_backlog;
	__u32 sk_max_ack_backlog;
	int sk_err;
	int sk_err_soft;
	__u8 sk_shutdown;
	kuid_t sk_uid;
	struct sock_cgroup_data sk_cgrp_data;
	__u8 sk_userlocks : 4;
};

struct inet_bind_bucket {
	signed char fastreuse;
};

struct inet_bind2_bucket;

struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	struct inet_bind_bucket *icsk_bind_hash;
	struct {
		__u32 lrcvtime;
	} icsk_ack;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 write_seq;
	__u32 snd_una;
	__u32 lsndtime;
	__u32 snd_cwnd_stamp;
	struct {
		__u64 time;
	} rcvq_space;
	struct rb_root out_of_order_queue;
};

struct inet_timewait_sock {
	struct sock_common __tw_common;
	volatile unsigned char tw_substate;
	struct inet_bind_bucket *tw_tb;
};

struct tcp_timewait_sock {
	struct inet_timewait_sock tw_sk;
};

struct request_sock {
	struct sock_common __req_common;
	const struct request_sock_ops *rsk_ops;
};

struct inet_request_sock {
	struct request_sock req;
};

struct tcp_request_sock {
	struct inet_request_sock req;
};

struct eventpoll;

struct eppoll_entry {
	struct eppoll_entry *next;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

#pragma clang attribute pop

#endif
