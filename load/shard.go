package load

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A shard is a locked OS thread with a file-descriptor table of its own, so that RLIMIT_NOFILE bounds one shard and
// not the process. The table starts as a copy of the process's: the low descriptors, the Go runtime's among them,
// mean the same in every shard.
//
// The thread makes raw system calls only. It uses no timer, no os.File and nothing else of the Go runtime that
// would touch descriptors.
type shard struct {
	epoll  int
	events []unix.EpollEvent
	held   []int32 // the connections that are up
	acted  int64   // the steps of the scenario that are done
}

// startShards starts n shards and waits until each is ready or one has failed.
func startShards(n int, run func(ready chan<- error, i int)) error {
	ready := make(chan error, n)
	for i := range n {
		go offMainThread(func() { run(ready, i) })
	}
	for range n {
		if err := <-ready; err != nil {
			return err
		}
	}
	return nil
}

// offMainThread runs f, which does not return, on a thread that is not the process's first. That one's table is what
// /proc/PID/fd shows: whoever lists processes would fill the dentry and proc_inode caches in the middle of a run.
func offMainThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		go offMainThread(f)
		select {}
	}
	f()
}

// enterShard locks the calling goroutine to its thread for good and gives the thread its own table, grown at once to
// hold the given number of sockets: the kernel then allocates nothing but the sockets while the load runs.
func enterShard(sockets, wake int) (*shard, error) {
	runtime.LockOSThread()
	if err := unix.CloseRange(firstShardFD, ^uint(0), unix.CLOSE_RANGE_UNSHARE); err != nil {
		return nil, fmt.Errorf("make a private fd table: %w (close_range needs Linux 5.9)", err)
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll set: %w", err)
	}
	if high, err := unix.FcntlInt(uintptr(epoll), unix.F_DUPFD_CLOEXEC, sockets+reservedFDs-1); err == nil {
		_ = unix.Close(high)
	}
	s := &shard{epoll: epoll, events: make([]unix.EpollEvent, 512), held: make([]int32, 0, sockets)}
	// Each write to the eventfd is to wake every shard once.
	return s, s.add(wake, unix.EPOLLIN|unix.EPOLLET)
}

// firstShardFD lies above every descriptor that is open before the tables part; none is closed by parting.
const firstShardFD = 1 << 20

// turns lets shards work in their order, a few at a time.
type turns struct {
	next  atomic.Int64
	begin []chan struct{}
}

func newTurns(shards int) *turns {
	t := &turns{}
	for range shards {
		t.begin = append(t.begin, make(chan struct{}))
	}
	return t
}

// pass gives the turn to the next shard, and tells whether there was one left.
func (t *turns) pass() bool {
	i := t.next.Add(1) - 1
	if i < int64(len(t.begin)) {
		close(t.begin[i])
	}
	return i < int64(len(t.begin))
}

func (t *turns) wait(shard int) { <-t.begin[shard] }

func (s *shard) add(fd int, events uint32) error {
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// wait returns what is ready, waiting for at most ms milliseconds (-1: for ever).
func (s *shard) wait(ms int) []unix.EpollEvent {
	n, err := unix.EpollWait(s.epoll, s.events, ms)
	if err != nil { // EINTR; the set itself cannot go bad
		return nil
	}
	return s.events[:n]
}

// reservedFDs is room for the standard streams, the control pipes, the Go runtime's own and the shard's epoll set.
const reservedFDs = 64

// CheckFiles tells whether RLIMIT_NOFILE leaves the load processes, which have this one's, enough to work with.
func CheckFiles() error {
	_, err := shardSockets()
	return err
}

// shardSockets is how many sockets one shard can hold under RLIMIT_NOFILE.
func shardSockets() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read RLIMIT_NOFILE: %w", err)
	}
	if limit.Cur < 2*reservedFDs {
		return 0, fmt.Errorf("RLIMIT_NOFILE is %d: too low for any load; raise it to %d or more (ulimit -n)",
			limit.Cur, 2*reservedFDs)
	}
	return int(min(limit.Cur-reservedFDs, MaxShardSockets)), nil
}

// closed tells whether an event means that the other end has closed or the connection broke.
func closed(events uint32) bool {
	return events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
}

// errno makes an error of package unix comparable.
func errno(err error) syscall.Errno {
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return syscall.EIO
}

// accept takes a connection without asking for its address, which package unix would allocate.
func accept(listener, flags int) (int, syscall.Errno) {
	fd, _, e := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(listener), 0, 0, uintptr(unix.SOCK_CLOEXEC|flags), 0, 0)
	return int(fd), e
}

// queued is how many connections wait to be accepted. For a listener the kernel gives that as tcpi_unacked
// (tcp_get_info). Asking costs less than an accept4 that finds nothing: that one makes a whole socket first.
func queued(listener int) int {
	var info [28]byte // struct tcp_info up to and with tcpi_unacked
	size := uint32(len(info))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(listener), unix.SOL_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return 0
	}
	return int(*(*uint32)(unsafe.Pointer(&info[24])))
}
