package live

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/guard"
	"github.com/connprof/connprof/internal/kernel"
)

// Command is a program that a record starts and watches. The kernel holds it at its end, before its files are closed, until the record
// has seen what it left open.
type Command struct {
	Args       []string
	Credential *syscall.Credential // whose it is to be; nil: connprof's own
	Environ    []string            // nil: connprof's own
	pid        int
	process    *os.Process
	started    chan error
	over       chan struct{} // closed when it ends and has left no daemon; nothing it left open is closed yet
	once       sync.Once
	status     atomic.Pointer[string]
	release    chan struct{} // closed when it may go
	gone       chan struct{} // closed when it has
}

// parent makes connprof the parent of what the command leaves behind, and gives its number: its descendants are the command's.
func (c *Command) parent() int {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	return os.Getpid()
}

// Find tells whether there is such a program, before anything is loaded for it.
func (c *Command) Find() error { return guard.Find(c.Args[0]) }

// Start starts it with connprof's own standard files.
func (c *Command) Start() error {
	c.started, c.over = make(chan error), make(chan struct{})
	c.release, c.gone = make(chan struct{}), make(chan struct{})
	go c.run()
	return <-c.started
}

// run starts it, waits for its end, and lets it go when it is told to. Whoever traces is a thread.
func (c *Command) run() {
	defer close(c.gone)
	runtime.LockOSThread()
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdin, os.Stdout, os.Stderr, c.Environ
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.Credential}
	if err := cmd.Start(); err != nil {
		c.started <- guard.NewStartError(c.Args[0], err)
		return
	}
	c.pid, c.process = cmd.Process.Pid, cmd.Process
	_ = c.seize()
	c.started <- nil
	c.wait()
}

// seize has the kernel hold the command at its end. Where it cannot be held, its end is seen all the same, and what it left open is
// closed by then.
func (c *Command) seize() error { return ptrace(unix.PTRACE_SEIZE, c.pid, 0, unix.PTRACE_O_TRACEEXIT) }

func ptrace(request, pid int, address, data uintptr) error {
	if _, _, e := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(pid), address, data, 0, 0); e != 0 {
		return e
	}
	return nil
}

// wait passes on the signals that the command gets, until it has ended, and then waits for the daemons that it has left.
func (c *Command) wait() {
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(c.pid, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			c.tell("its end was not seen")
			return
		case status.Stopped():
			c.resume(status)
		default:
			c.ended(statusOf(status))
			c.awaitDaemons()
			c.tell("")
			return
		}
	}
}

// awaitDaemons waits for what became connprof's children when the command ended.
func (c *Command) awaitDaemons() {
	for {
		if _, err := unix.Wait4(-1, nil, unix.WALL, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return // there are no more
		}
	}
}

// resume answers a stop.
func (c *Command) resume(status unix.WaitStatus) {
	switch event := uint32(status) >> 16; event {
	case unix.PTRACE_EVENT_EXIT:
		if kernel.GoesOn(c.pid) {
			_ = ptrace(unix.PTRACE_CONT, c.pid, 0, 0)
			c.seizeAgain()
			return
		}
		if end, err := unix.PtraceGetEventMsg(c.pid); err == nil {
			c.ended(statusOf(unix.WaitStatus(end)))
		}
		if len(childrenOf(c.pid)) == 0 {
			c.tell("")
			<-c.release
		}
		_ = ptrace(unix.PTRACE_CONT, c.pid, 0, 0)
	case unix.PTRACE_EVENT_STOP:
		if signal := status.StopSignal(); signal == unix.SIGTRAP {
			_ = ptrace(unix.PTRACE_CONT, c.pid, 0, 0)
		} else { // it is stopped, as by SIGSTOP, until somebody lets it go on
			_ = ptrace(unix.PTRACE_LISTEN, c.pid, 0, 0)
		}
	default:
		_ = ptrace(unix.PTRACE_CONT, c.pid, 0, uintptr(status.StopSignal()))
	}
}

// seizeAgain is for a command whose first thread has ended and that goes on. If another thread is executing a program, that takes the
// first one's number over as soon as it is gone.
func (c *Command) seizeAgain() {
	for range 100 {
		if err := c.seize(); !errors.Is(err, unix.EPERM) { // which a thread that has ended is answered with
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// ended notes how the command ended.
func (c *Command) ended(how string) { c.status.CompareAndSwap(nil, &how) }

// Status is how the command ended, empty where it has not.
func (c *Command) Status() string {
	if how := c.status.Load(); how != nil {
		return *how
	}
	return ""
}

// tell says that the command has ended, and all that it left.
func (c *Command) tell(how string) {
	if how != "" {
		c.ended(how)
	}
	c.once.Do(func() { close(c.over) })
}

// childrenOf lists the children of a process.
func childrenOf(pid int) (children []int) {
	processes, err := procfs.AllProcs()
	if err != nil {
		return nil
	}
	for _, p := range processes {
		if stat, err := p.Stat(); err == nil && stat.PPID == pid && stat.State != "Z" {
			children = append(children, p.PID)
		}
	}
	return children
}

// commandPatience is how long a command has to end after SIGTERM.
const commandPatience = 5 * time.Second

// End lets it go, and ends it if it still runs, and what it has left.
func (c *Command) End() {
	if c.pid == 0 {
		return
	}
	close(c.release)
	c.signal(unix.SIGTERM) // who ends already does not get it
	select {
	case <-c.gone:
	case <-time.After(commandPatience):
		c.signal(unix.SIGKILL)
		<-c.gone
	}
}

func (c *Command) signal(s unix.Signal) {
	_ = c.process.Signal(s) // by its pidfd: nobody else gets it
	for _, daemon := range childrenOf(os.Getpid()) {
		if daemon != c.pid {
			_ = unix.Kill(daemon, s)
		}
	}
}

// statusOf is how a process ended, in words.
func statusOf(status unix.WaitStatus) string {
	switch {
	case status.Signaled():
		return "signal: " + status.Signal().String()
	case status.Exited():
		return fmt.Sprintf("exit status %d", status.ExitStatus())
	}
	return fmt.Sprintf("wait status %#x", uint32(status))
}
