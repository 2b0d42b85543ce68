// Package kernel holds what connprof knows of the kernel as plain data: object types, endpoints, events, slab
// caches, symbols, and the parsers of the /proc files they are read from. It imports nothing of the project and
// needs no privilege by itself: loader fills its types from BPF, account computes with them.
package kernel

import (
	"fmt"
	"net/netip"
	"time"
)

// State is a TCP state, numbered as in include/net/tcp_states.h.
type State uint8

// The states that the code has to tell apart.
const (
	StateEstablished State = 1
	StateSynSent     State = 2
	StateTimeWait    State = 6
	StateClose       State = 7
	StateCloseWait   State = 8
	StateListen      State = 10
	StateNewSynRecv  State = 12

	stateLastAck State = 9
	stateClosing State = 11
)

var stateNames = [...]string{
	1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RECV", 4: "FIN_WAIT1", 5: "FIN_WAIT2", 6: "TIME_WAIT", 7: "CLOSE",
	8: "CLOSE_WAIT", 9: "LAST_ACK", 10: "LISTEN", 11: "CLOSING",
	12: "SYN_RECV", // TCP_NEW_SYN_RECV, a request sock: the kernel lists it so too
}

// States is all states that an endpoint can be seen in, each once.
func States() (states []State) {
	for s := range State(len(stateNames)) {
		if stateNames[s] != "" && s != 3 { // of two SYN_RECV that of request socks, which have been all since 2.6
			states = append(states, s)
		}
	}
	return states
}

func (s State) String() string {
	if int(s) < len(stateNames) && stateNames[s] != "" {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Endpoint is one struct sock as the walk found it, with the number of objects of each type that hang on it.
// Bind buckets that it shares with others count as one here; Bind and Bind2 tell them apart.
type Endpoint struct {
	Sock        uint64 // address of the struct sock
	File        uint64 // address of the struct file through which processes have it, 0 for none
	Netns       uint32 // inode number of its network namespace
	Cache       uint64 // address of its kmem_cache
	Bind, Bind2 uint64 // addresses of the bind buckets, 0 for none
	BindSole    bool   // no other socket uses the bucket
	Bind2Sole   bool
	// BindLocked says that the program chose the port, by bind() to one that is not 0. An accepted end never has it.
	BindLocked bool
	// BindByConnect says that connect() chose the port. Before Linux 6.18 it is read from the port's bucket, and can be
	// wrong where connect() and bind() use one port with different addresses.
	BindByConnect bool
	// Cloned says that the kernel made it from a listener: it is an accepted end, or one that waits to be accepted. It is
	// not told of listeners, of what is in TIME_WAIT, and where the listener had a backlog of 0.
	Cloned bool
	// Dead says that no process has it any more (SOCK_DEAD): an orphan.
	Dead      bool
	Truncated bool // not all that it holds was counted: a list was too long, or its objects are of several caches
	// Scaled says that a queue was longer than the walk follows, and that its sk_buffs were counted by what it is charged with.
	Scaled bool
	// Passed says that it was not asked for, and that what hangs on it was not followed: it has a sock, and figures for the books.
	Passed        bool
	V6Only        bool // a listener on an IPv6 address that takes no IPv4
	State         State
	Local, Remote netip.AddrPort
	Objects       [NumObjectTypes]uint16
	Buffers       Buffers
	SKBHeadBytes  uint32 // of the first queued sk_buff whose head comes from a slab
	Live          Live   // zero where the walk was not asked for it
}

// Live is what a look at a running host asks of an endpoint beside its objects.
type Live struct {
	Inode  uint64 // of the socket's file, 0 where there is none
	Cgroup uint64 // ID of the cgroup that made the socket (sk_cgrp_data), 0 for none
	UID    uint32 // sk_uid
	// Unread is what has arrived in order and the process has not read (rcv_nxt - copied_seq), the peer's FIN as one; for data
	// alone there is UnreadData. Unacked is bytes
	// written and not acknowledged by the peer (write_seq - snd_una).
	Unread, Unacked uint32
	// AcceptQueue is a listener's connections that nobody has accepted (sk_ack_backlog), and AcceptMax the most that it
	// keeps (sk_max_ack_backlog).
	AcceptQueue, AcceptMax uint32
	// PageCache is bytes of the send queue whose pages belong to the page cache (SKBFL_SHARED_FRAG, sendfile).
	PageCache uint32
	// Idle is the time since data last came or went, Age a lower bound of the socket's age. Negative where not known.
	Idle, Age time.Duration
	MPTCP     bool // a subflow of an MPTCP socket
}

// Unaccepted tells whether it waits in a listener's queue: nothing is made for a process yet, and it is no orphan.
func (e *Endpoint) Unaccepted() bool {
	return e.Objects[RequestSock] > 0 || e.Objects[TCPSock] > 0 && e.Objects[SocketAlloc] == 0 && !e.Dead
}

// UnreadData is bytes of data that have arrived in order and that the process has not read. A FIN that it has not read takes a
// number of the sequence, as ss shows it, and is no data.
func (e *Endpoint) UnreadData() uint32 {
	switch e.State {
	case StateCloseWait, stateLastAck, stateClosing: // the peer's FIN has come
		return e.Live.Unread - min(e.Live.Unread, 1)
	}
	return e.Live.Unread
}

// Buffers is the kernel's own accounting of queued data, in bytes, as `ss -m` shows it.
type Buffers struct {
	Rmem    uint32 // sk_rmem_alloc
	Wmem    uint32 // sk_wmem_queued
	Forward int32  // sk_forward_alloc, reserved but not used
	Backlog uint32 // sk_backlog.len
	Option  uint32 // sk_omem_alloc
}

// Bytes is what the socket has queued: receive queue, send queue, backlog and option memory. sk_forward_alloc is
// left out: it is a reservation against tcp_mem, not memory in use.
func (b Buffers) Bytes() uint64 {
	return uint64(b.Rmem) + uint64(b.Wmem) + uint64(b.Backlog) + uint64(b.Option)
}

// EndpointEvent is one step in an endpoint's life, as the probes report it.
type EndpointEvent struct {
	Nanoseconds uint64 // CLOCK_MONOTONIC
	Sock        uint64
	PID         uint32 // thread group; 0 where it happened in softirq context
	Role        Role
}

// StackSample is one sampled allocation. Frames is only valid during the call that delivers it.
type StackSample struct {
	CallSite uint64
	Cache    uint64 // kmem_cache, or the size in bytes on kernels before 6.1 and for kmalloc
	Weight   uint32 // allocations it stands for
	Role     Role   // of the task that was running
	Atomic   bool   // the allocation may not sleep
	Frames   []uint64
}

// Site is a place in the kernel that allocated or freed slab objects while a task of the run was current.
type Site struct {
	CallSite uint64
	Cache    uint64 // see StackSample
	Role     Role   // of the task that was running
	Free     bool
	Kmalloc  bool
	Atomic   bool
	Sized    bool // Cache holds a size
	Count    uint64
}

// CacheInfo is a slab cache as the kernel's struct kmem_cache describes it.
type CacheInfo struct {
	Name           string
	SizeBytes      uint32 // from one object to the next
	ObjectBytes    uint32 // asked for when the cache was made
	ObjectsPerSlab uint32
	PagesPerSlab   uint32
	Accounted      bool // SLAB_ACCOUNT: its objects are charged to memory cgroups
}
