// Command hold is test/hold/hold.pl where there is no perl: an ordinary program that opens TCP connections one by one, holds
// them all, and ends at the first error. It is for limits of the whole host, which the tests run into in a virtual machine.
//
//	hold N                 another process accepts them
//	hold N fork            a process for each accepted one
//	hold N stacks          a stack with a guard page for each accepted one, as pthread_create() maps it; no thread is made
//	hold N epoll           both ends are put into an epoll set
//	hold N unread          each sends what it can and is closed, and then the other end reads
//	hold N peers ADDRESS   each to another host: the first one's address, the next and so on, where somebody accepts
//
// The error is the kernel's own, and none of the Go runtime comes between: sockets are plain, blocking file descriptors.
package main

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const port = 8090

// job is what is done beside opening connections.
type job struct {
	listener int
	peer     netip.Addr // of the first connection
	own      []int      // the accepted ends
	children []uintptr
	epoll    int
}

// after is called when a connection is up; it names the call that failed.
var after = map[string]func(j *job, client int) (step string, err error){
	"fork": func(j *job, _ int) (string, error) {
		if err := j.accept(); err != nil {
			return "accept", err
		}
		return "fork", j.fork(func() {})
	},
	"stacks": func(j *job, _ int) (string, error) {
		if err := j.accept(); err != nil {
			return "accept", err
		}
		return stack()
	},
	"epoll": func(j *job, client int) (string, error) {
		if err := j.accept(); err != nil {
			return "accept", err
		}
		for _, end := range []int{client, j.own[len(j.own)-1]} {
			event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(end)}
			if err := unix.EpollCtl(j.epoll, unix.EPOLL_CTL_ADD, end, &event); err != nil {
				return "epoll_ctl", err
			}
		}
		return "", nil
	},
	"unread": func(j *job, client int) (string, error) {
		if err := j.accept(); err != nil {
			return "accept", err
		}
		return "send", fill(client)
	},
	"peers": func(*job, int) (string, error) { return "", nil },
	"":      func(*job, int) (string, error) { return "", nil },
}

func main() {
	runtime.LockOSThread()
	n, mode, j := arguments()
	clients, err := j.open(n, mode)
	if err == nil && mode == "unread" {
		err = j.read(clients)
	}
	for _, pid := range j.children {
		_ = unix.Kill(int(pid), unix.SIGKILL)
		_, _ = unix.Wait4(int(pid), nil, 0, nil)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(n, "connections")
}

func arguments() (n int, mode string, j *job) {
	j = &job{peer: netip.MustParseAddr("127.0.0.1")}
	args := append(os.Args[1:], "", "", "")
	n, err := strconv.Atoi(args[0])
	if mode = args[1]; mode == "peers" && err == nil {
		j.peer, err = netip.ParseAddr(args[2])
	}
	if _, known := after[mode]; !known || err != nil || n < 1 || !j.peer.Is4() {
		fmt.Fprintln(os.Stderr, "usage: hold N [fork | stacks | epoll | unread | peers ADDRESS]")
		os.Exit(2)
	}
	return n, mode, j
}

// open opens the connections, and tells which one failed and where.
func (j *job) open(n int, mode string) (clients []int, err error) {
	if mode != "peers" {
		if err := j.listen(); err != nil {
			return nil, err
		}
	}
	if mode == "" {
		listener := j.listener
		if err := j.fork(func() { acceptAll(listener) }); err != nil {
			return nil, fmt.Errorf("fork: %w", err)
		}
	}
	if j.epoll, err = unix.EpollCreate1(0); err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	to := j.peer
	for i := range n {
		failed := func(step string, err error) error { return fmt.Errorf("connection %d: %s: %w", i+1, step, err) }
		client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return clients, failed("socket", err)
		}
		if mode != "unread" {
			// Who gets no answer is told after a second: SYNs are sent twice at least, which takes three.
			_ = unix.SetsockoptInt(client, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 1000)
		}
		if err := unix.Connect(client, &unix.SockaddrInet4{Port: port, Addr: to.As4()}); err != nil {
			return clients, failed("connect", err)
		}
		clients = append(clients, client)
		if step, err := after[mode](j, client); err != nil {
			return clients, failed(step, err)
		}
		if mode == "peers" {
			to = to.Next()
		}
	}
	return clients, nil
}

func (j *job) listen() (err error) {
	if j.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	_ = unix.SetsockoptInt(j.listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(j.listener, &unix.SockaddrInet4{Port: port, Addr: j.peer.As4()}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(j.listener, 1<<16); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

func (j *job) accept() error {
	end, _, err := unix.Accept(j.listener)
	if err == nil {
		j.own = append(j.own, end)
	}
	return err
}

// fork makes a process that does something and then sleeps until it is killed. It has one thread and no Go runtime to
// speak of, so what it does must be system calls and nothing else.
func (j *job) fork(do func()) error {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
		do()
		for {
			syscall.RawSyscall(unix.SYS_PAUSE, 0, 0, 0)
		}
	}
	j.children = append(j.children, pid)
	return nil
}

// acceptAll accepts until it cannot.
func acceptAll(listener int) {
	for {
		if _, _, errno := syscall.RawSyscall(unix.SYS_ACCEPT, uintptr(listener), 0, 0); errno != 0 && errno != unix.EINTR {
			return
		}
	}
}

// stack maps what a thread of C would have.
func stack() (step string, err error) {
	const size, guard = 8 << 20, 4 << 10
	address, err := unix.MmapPtr(-1, 0, nil, size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_STACK|unix.MAP_NORESERVE)
	if err != nil {
		return "mmap", err
	}
	above := unsafe.Slice((*byte)(unsafe.Add(address, guard)), size-guard)
	return "mprotect", unix.Mprotect(above, unix.PROT_READ|unix.PROT_WRITE)
}

// fill sends until nothing more fits into the queues.
func fill(client int) error {
	data := make([]byte, 32<<10)
	_ = unix.SetsockoptInt(client, unix.SOL_SOCKET, unix.SO_SNDBUF, 2*len(data))
	for {
		err := unix.Sendto(client, data, unix.MSG_DONTWAIT, nil)
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// pause lets the kernel count: it knows how many orphans there are ten times a second (tcp_orphan_timer, 5.15).
const pause = 20 * time.Millisecond

// read closes all clients, whose data is still on its way, and then reads it at the other end.
func (j *job) read(clients []int) error {
	for _, c := range clients {
		_ = unix.Close(c)
		time.Sleep(pause)
	}
	buffer := make([]byte, 64<<10)
	for i, end := range j.own {
		for {
			n, err := unix.Read(end, buffer)
			if err != nil {
				return fmt.Errorf("connection %d: read: %w", i+1, err)
			}
			if n == 0 {
				break
			}
		}
	}
	return nil
}
