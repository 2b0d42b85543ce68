package load

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// counter fills a cache line of its own, so that threads that write different ones do not slow each other down.
type counter struct {
	atomic.Int64
	_ [56]byte
}

// shared is the memory that the parent and both workers map.
type shared struct {
	attempted, established, accepted, failed counter
	connected                                counter
	clientsLost, serversLost                 counter // ends that closed after they were up
	first, last                              counter // CLOCK_MONOTONIC in ns
	stop                                     counter // 1: open no more
	limit                                    counter // attempts that may be made so far
	closing                                  counter // 1: ends close on purpose
	acted                                    counter // what the steps of a scenario have done to connections
	refused, stuck                           counter // what they could not do: an error; nothing moves
	delivered                                counter // bytes of payload that the other ends have
	clientShards, serverShards               counter // those whose turn has come: they hear of commands
	settled                                  counter // how often one of them has answered Settle
	inUse, strangers                         counter // see Engine.PortsInUse, Engine.Strangers
	asked, answered, unanswered              counter // see Repeats
	otherClaim, otherLength                  counter // see Engine.OtherAnswer
	other                                    [keptAnswer]byte
	failures                                 [maxFailures]failureSlot
	otherFailures                            counter
	clientSwitches, serverSwitches           switchesSlot
}

const maxFailures = 64

// failureSlot counts one pair of step and errno, packed into key; key 0 is free.
type failureSlot struct {
	key   atomic.Int64
	count atomic.Int64
}

var sharedBytes = (int(unsafe.Sizeof(shared{})) + os.Getpagesize() - 1) &^ (os.Getpagesize() - 1)

func newShared() (*shared, *os.File, error) {
	fd, err := unix.MemfdCreate("connprof-load", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, fmt.Errorf("make shared memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "connprof-load")
	if err := f.Truncate(int64(sharedBytes)); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("size shared memory: %w", err)
	}
	s, err := mapShared(f)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return s, f, nil
}

func mapShared(f *os.File) (*shared, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, sharedBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map shared memory: %w", err)
	}
	return (*shared)(unsafe.Pointer(unsafe.SliceData(b))), nil
}

// attempt takes the right to one more attempt, and tells whether there is one to take now.
func (s *shared) attempt() bool {
	for {
		n := s.attempted.Load()
		if n >= s.limit.Load() {
			return false
		}
		if s.attempted.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (s *shared) unmap() {
	_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(s)), sharedBytes))
}

// step is what a worker was doing when it failed.
type step int64

const (
	stepSocket step = iota + 1
	stepOption
	stepBind
	stepConnect
	stepEpoll
	stepAccept
	stepTimeout
	stepAct
	stepListen
	stepTables
	stepThread
	stepSend
	stepAnswer
)

var stepNames = map[step]string{stepSocket: "socket", stepOption: "setsockopt", stepBind: "bind",
	stepConnect: "connect", stepEpoll: "epoll_ctl", stepAccept: "accept", stepTimeout: "handshake", stepAct: "scenario", stepListen: "listen", stepTables: "accept into the last file-descriptor table",
	stepThread: "thread", stepSend: "send", stepAnswer: "the expected answer"}

// fail counts a failure. Safe to call from any thread, and allocates nothing.
func (s *shared) fail(at step, errno syscall.Errno) {
	s.failed.Add(1)
	s.note(at, errno)
}

// note counts an error without counting a connection as failed.
func (s *shared) note(at step, errno syscall.Errno) {
	key := int64(at)<<32 | int64(errno)
	for i := range s.failures {
		f := &s.failures[i]
		if k := f.key.Load(); k == key || k == 0 && (f.key.CompareAndSwap(0, key) || f.key.Load() == key) {
			f.count.Add(1)
			return
		}
	}
	s.otherFailures.Add(1)
}

func (s *shared) listFailures() []Failure {
	var list []Failure
	for i := range s.failures {
		f := &s.failures[i]
		if n := f.count.Load(); n > 0 {
			key := f.key.Load()
			list = append(list, Failure{Step: stepNames[step(key>>32)], Errno: syscall.Errno(key & 0xffffffff), Count: int(n)})
		}
	}
	if n := s.otherFailures.Load(); n > 0 {
		list = append(list, Failure{Step: "other", Errno: syscall.EIO, Count: int(n)})
	}
	return list
}

func (s *shared) progress() Progress {
	return Progress{Attempted: int(s.attempted.Load()), Connected: int(s.connected.Load()), Established: int(s.established.Load()),
		Accepted: int(s.accepted.Load()), Failed: int(s.failed.Load()), Lost: int(max(s.clientsLost.Load(), s.serversLost.Load())),
		First: time.Duration(s.first.Load()), Last: time.Duration(s.last.Load())}
}

// Monotonic is CLOCK_MONOTONIC, the clock of Progress.First and Progress.Last.
func Monotonic() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail for this clock
	return time.Duration(ts.Nano())
}
