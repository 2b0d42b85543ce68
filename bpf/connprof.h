/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What the programs and the Go side share: the layout of everything that crosses the border. */
#ifndef CONNPROF_H
#define CONNPROF_H

#include <linux/types.h>

/* Enums of one byte, so that a struct's member can have the type. bpf2go makes Go types of them. */
#define ONE_BYTE __attribute__((packed))

/* Object types an endpoint can hold, named after the kernel's structs. internal/kernel/objects.go has the same list, which
 * a test of this package holds against this one. */
enum object_type {
	TYPE_TCP_SOCK,
	TYPE_SOCKET_ALLOC,
	TYPE_FILE,
	TYPE_DENTRY,
	TYPE_LSM_INODE,
	TYPE_LSM_FILE,
	TYPE_LSM_SOCK,
	TYPE_EPITEM,
	TYPE_EPPOLL_ENTRY,
	TYPE_EPITEMS_HEAD,
	TYPE_BIND_BUCKET,
	TYPE_BIND2_BUCKET,
	TYPE_REQUEST_SOCK,
	TYPE_TIMEWAIT_SOCK,
	TYPE_SK_BUFF,
	TYPE_SK_BUFF_FCLONES,
	TYPE_SKB_HEAD,
	TYPE_MAX = 20, /* places in a record */
};

/* Bits of endpoint_record.binding. */
enum ONE_BYTE binding {
	BIND_SOLE = 1, /* the bucket belongs to this endpoint alone */
	BIND2_SOLE = 2,
	BIND_LOCKED = 4,  /* the program chose the port itself, and not as 0 */
	BIND_CONNECT = 8, /* connect() chose the port */
};

/* Bits of endpoint_record.flags. */
enum ONE_BYTE endpoint_flags {
	WALK_TRUNCATED = 1, /* a list was longer than the walk follows */
	WALK_V6ONLY = 2,    /* a listener that takes no IPv4 */
	WALK_DEAD = 4,	    /* SOCK_DEAD: no process has it any more */
	WALK_CLONED = 8,    /* it was made from a listener */
	WALK_MPTCP = 16,    /* a subflow of an MPTCP socket */
	WALK_UNHASHED = 32, /* in none of the protocol's tables: only its file leads to it */
	WALK_SCALED = 64,   /* a queue was too long: how many sk_buffs it holds is worked out from its charge */
	WALK_PASSED = 128,  /* it is not asked for: what hangs on it was not followed */
};

/* How many values of one kind can be asked for in the kernel. */
#define ASKED_MAX 8

/* One endpoint as the walk finds it. Addresses are IPv6 or IPv4 by family, in network byte order. */
struct endpoint_record {
	__u64 sk;
	__u64 file;  /* struct file, 0 for none */
	__u64 cache; /* struct kmem_cache of the sock itself */
	__u64 bind;  /* struct inet_bind_bucket, 0 for none */
	__u64 bind2; /* struct inet_bind2_bucket */
	__u8 local[16];
	__u8 remote[16];
	__u16 local_port;  /* host byte order */
	__u16 remote_port; /* host byte order */
	__u8 family;
	__u8 state;
	enum binding binding;
	enum endpoint_flags flags;
	__u32 netns;		 /* the namespace's inode number */
	__u16 objects[TYPE_MAX]; /* how many of each type, shared buckets counted as 1 */
	__u32 rmem_alloc;
	__u32 wmem_queued;
	__s32 forward_alloc;
	__u32 backlog;
	__u32 omem_alloc;
	__u32 skb_head; /* bytes of the first queued skb's head, where it comes from a slab */
	__u32 pad;
};
_Static_assert(sizeof(struct endpoint_record) == 152, "endpoint_record is read as 152 bytes");

/* What a look at a running host wants beside that. */
struct live_record {
	struct endpoint_record endpoint;
	__u64 inode;  /* of the socket's file, 0 for none */
	__u64 cgroup; /* ID of the cgroup that made the socket, 0 for none */
	__s64 idle;   /* nanoseconds, NOT_KNOWN where nothing tells */
	__s64 age;
	__u32 uid;
	__u32 unread;
	__u32 unacked;
	__u32 accept_queue;
	__u32 accept_max;
	__u32 page_cache; /* bytes of the send queue */
};
_Static_assert(sizeof(struct live_record) == 208, "live_record is read as 208 bytes");

#define NOT_KNOWN (-1)

/* A file descriptor of a TCP socket. The endpoint is filled where no table leads to it, else its sk is 0. */
struct file_record {
	__u64 file;
	__u64 sk;
	__u32 pid; /* of the process, in the reader's PID namespace; 0 where it has none there */
	__u32 tid;
	__u32 fd;
	__u32 netns;
	char comm[16];
	struct live_record live;
};
_Static_assert(sizeof(struct file_record) == 256, "file_record is read as 256 bytes");

/* How many network namespaces a list of them holds. */
#define NETNS_MAX 65536

/* A network namespace and the hash tables that its sockets are in; most share one. */
struct netns_record {
	__u64 established;
	__u64 listening;
	__u32 established_mask; /* buckets less one */
	__u32 listening_mask;
	__u32 inode;
	__u32 pad;
};
_Static_assert(sizeof(struct netns_record) == 32, "netns_record is read as 32 bytes");

/* One run over a hash table cannot be preempted on most kernels: it ends with the bucket at which it has found enough.
 * One bucket can hold what is between that and the most. */
#define FOUND_ENOUGH 2048
#define FOUND_MAX 16384
#define STEPS_MAX (1 << 20) /* never reached: a step visits a bucket or a sock */

enum ONE_BYTE event_kind {
	EVENT_OPEN = 1, /* connect() called, or a handshake completed on the listening side */
	EVENT_ACCEPT,	/* accept() handed the endpoint to a process */
	EVENT_CLOSE,	/* tcp_destroy_sock */
	EVENT_STACK,
	EVENT_FAIL, /* tcp_destroy_sock of an endpoint that never came up */
};

enum ONE_BYTE role {
	ROLE_NONE,
	ROLE_CLIENT,
	ROLE_SERVER,
};

/* Which network namespaces count: one, those of a map, all. */
enum ONE_BYTE scope_kind {
	SCOPE_ONE,
	SCOPE_SEVERAL,
	SCOPE_ALL,
};

/* Which of an endpoint's ports decides whether it counts. */
enum ONE_BYTE port_side {
	PORTS_ALL,    /* none: all endpoints count */
	PORTS_LOCAL,  /* the server's end is here */
	PORTS_REMOTE, /* the client's end is */
};

struct endpoint_event {
	__u64 nanoseconds; /* CLOCK_MONOTONIC */
	__u64 sk;
	__u32 pid; /* thread group, as connprof numbers it; 0 where it has no number there, and in softirq context */
	enum event_kind kind;
	enum role role;
	__u16 pad;
};
_Static_assert(sizeof(struct endpoint_event) == 24, "endpoint_event is read as 24 bytes");

#define STACK_DEPTH 96

/* A sampled allocation. kind and role stand where endpoint_event has them. */
struct stack_event {
	__u64 call_site;
	__u64 cache;
	__u32 weight; /* allocations this sample stands for */
	enum event_kind kind;
	enum role role; /* of the current task, which in softirq context is whoever was interrupted */
	__u8 atomic;	/* 1: the allocation may not sleep, as in softirq context */
	__u8 depth;
	__u64 frames[STACK_DEPTH]; /* leaf first */
};
_Static_assert(sizeof(struct stack_event) == 24 + 8 * STACK_DEPTH, "stack_event has no holes");

/* Bits of site.kind. */
enum ONE_BYTE site_kind {
	SITE_FREE = 1,
	SITE_KMALLOC = 2,
	SITE_ATOMIC = 4,
	SITE_SIZED = 8, /* cache holds a size, not a pointer */
};

/* One call site's counters on one CPU. */
struct site {
	__u64 call_site; /* 0: nothing here yet */
	__u64 cache;	 /* struct kmem_cache; for kmalloc and kernels before 6.1 the size in bytes */
	enum role role;
	enum site_kind kind;
	__u16 pad;
	__u32 claims; /* programs that wanted this place while it was free */
	__u64 count;
};
_Static_assert(sizeof(struct site) == 32, "site is read as 32 bytes");

#define SITES 512
#define SITE_PROBES 16

struct site_table {
	__u64 full;    /* events that found no place */
	__u64 unnamed; /* a cache whose name is not in the map yet; 0: none */
	__u64 until_sample;
	struct site sites[SITES];
};

struct cache_info {
	char name[32];
	__u32 size;	   /* bytes from one object to the next */
	__u32 object_size; /* bytes asked for at creation */
	__u32 oo;	   /* order << 16 | objects a slab */
	__u32 flags;	   /* slab_flags_t */
};
_Static_assert(sizeof(struct cache_info) == 48, "cache_info is read as 48 bytes");

/* One per CPU. */
struct cpu_counters {
	__u64 events;
	__u64 ring_full;
	__u64 map_full; /* updates that a map had no place for */
	__u64 stack_failures;
	__u64 connect_calls; /* connect hook: kprobe or fentry */
	__u64 accepts;	     /* accept hook: kretprobe or fexit, NULL returns left out */
	__u64 state_changes;
	__u64 syn_sent; /* CLOSE -> SYN_SENT */
	__u64 client_established;
	__u64 server_established;
	__u64 destroyed;
};

#endif
