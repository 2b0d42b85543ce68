package load

import (
	"fmt"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
)

// The classic server has a thread for each connection, which sleeps in read(2) until something comes. It accepts like
// the other server, so that the two differ in nothing but how they serve.
//
// The threads are clone(2)'s and not the Go runtime's. One of the runtime's costs several times as much memory, keeps a
// processor from others until a watchdog has noticed that it sleeps, which would be counted as context switches, and ends
// the whole process where the kernel refuses another one. These run a few instructions of assembly and nothing of Go:
// they echo what they read, and end with their connection. As they have the file-descriptor table of the shard that
// starts them, RLIMIT_NOFILE bounds a shard here as well, and not the server.

// serveThread starts a thread on a stack, whose upper end is given, that echoes what it reads from fd. When the other
// end has closed it adds one to lost, closes fd, and ends. The result is the thread's ID or a negative error number.
//
//go:noescape
func serveThread(flags, stack, fd uintptr, lost *counter) (tid int)

// threadFlags are those of any thread (pthread_create), less what is there for the C library.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD |
	unix.CLONE_SYSVSEM

// stackBytes is the least that pthread_attr_setstacksize takes, with a guard page below: two mappings, as the C library
// makes them.
const stackBytes = 16 << 10

var guardBytes = uintptr(unix.Getpagesize())

// ThreadScenarios are the scenarios that a server with a thread for each connection is made for.
var ThreadScenarios = []string{"idle", "hello"}

func (c Config) checkThreads() error {
	if s, _ := FindScenario(c.Scenario); c.ThreadPerConnection && !slices.Contains(ThreadScenarios, s.Name) {
		return fmt.Errorf("scenario %s has no server with one thread a connection", s.Name)
	}
	return nil
}

// serveByThread gives a connection its thread. Once the kernel has refused one, the ramp is over: the connection, and
// what is queued behind it, wait for the end.
func (sv *server) serveByThread(_ *shard, fd int) (step, error) {
	e := startThread(fd, &sv.shared.serversLost)
	if e == 0 {
		return 0, nil
	}
	sv.barred = true
	sv.reserve.release()
	return stepThread, e
}

// ReservedThreads are made before the first connection and end when the kernel refuses a further one. A Go program that
// is refused a thread is ended by its runtime: those that are to measure and report are to find some.
const ReservedThreads = 32

// reserve is what the reserved threads wait at. Shutting down one end wakes them all, in whatever tables it is open.
type reserve struct {
	end  int
	gone counter
}

func newReserve() (*reserve, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	r := &reserve{end: ends[0]}
	for range ReservedThreads {
		fd, err := unix.FcntlInt(uintptr(ends[1]), unix.F_DUPFD_CLOEXEC, 0) // each closes its own
		if err != nil {
			return nil, fmt.Errorf("duplicate a socket: %w", err)
		}
		if e := startThread(fd, &r.gone); e != 0 {
			return nil, fmt.Errorf("start a thread: %w (kernel.threads-max, kernel.pid_max or pids.max of the cgroup)", e)
		}
	}
	return r, nil
}

func (r *reserve) release() { _ = unix.Shutdown(r.end, unix.SHUT_WR) }

// startThread starts a thread that no signal is delivered to: a handler of Go's would not know where it is.
func startThread(fd int, lost *counter) syscall.Errno {
	stack, e := newStack()
	if e != 0 {
		return e
	}
	all, was := &unix.Sigset_t{}, &unix.Sigset_t{}
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, all, was) // valid arguments: it cannot fail
	tid := serveThread(threadFlags, stack+guardBytes+stackBytes, uintptr(fd), lost)
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, was, nil)
	if tid < 0 {
		_, _, _ = unix.Syscall(unix.SYS_MUNMAP, stack, guardBytes+stackBytes, 0)
		return syscall.Errno(-tid)
	}
	return 0
}

// newStack maps a stack, which stays until the process ends.
func newStack() (uintptr, syscall.Errno) {
	const flags = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_NORESERVE | unix.MAP_STACK
	stack, _, e := unix.Syscall6(unix.SYS_MMAP, 0, guardBytes+stackBytes, unix.PROT_READ|unix.PROT_WRITE, flags,
		^uintptr(0), 0)
	if e != 0 {
		return 0, e
	}
	if _, _, e := unix.Syscall(unix.SYS_MPROTECT, stack, guardBytes, unix.PROT_NONE); e != 0 {
		_, _, _ = unix.Syscall(unix.SYS_MUNMAP, stack, guardBytes+stackBytes, 0)
		return 0, e
	}
	return stack, 0
}

// Switches is how often the threads of a process have left a CPU: because they had to wait, or because another thread
// was to run.
type Switches struct{ Voluntary, Involuntary int64 }

// ownSwitches are those of all threads of this process, by the kernel's sum for the process.
func ownSwitches() Switches {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // valid arguments: it cannot fail
	return Switches{Voluntary: u.Nvcsw, Involuntary: u.Nivcsw}
}

// switchesSlot is where a worker leaves its switches.
type switchesSlot struct{ voluntary, involuntary, told counter }

func (s *switchesSlot) tell(since Switches) {
	now := ownSwitches()
	s.voluntary.Store(now.Voluntary - since.Voluntary)
	s.involuntary.Store(now.Involuntary - since.Involuntary)
	s.told.Add(1)
}

func (s *shared) switchesOf(role kernel.Role) *switchesSlot {
	if role == kernel.RoleServer {
		return &s.serverSwitches
	}
	return &s.clientSwitches
}
