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
};

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
	__u32 netns;		/* the namespace's inode number */
	__u8 objects[TYPE_MAX]; /* how many of each type, shared buckets counted as 1 */
	__u32 rmem_alloc;
	__u32 wmem_queued;
	__s32 forward_alloc;
	__u32 backlog;
	__u32 omem_alloc;
	__u32 skb_head; /* bytes of the first queued skb's head, where it comes from a slab */
};
_Static_assert(sizeof(struct endpoint_record) == 128, "endpoint_record is read as 128 bytes");

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
#define SITE_PROBES 8

struct site_table {
	__u64 full; /* events that found no place */
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
