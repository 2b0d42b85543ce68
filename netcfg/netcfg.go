// Package netcfg readies the ground for a run: a private network namespace with alias addresses on its loopback
// interface and sysctls of its own. The kernel removes all of it with the last process in it, so there is nothing
// to undo by hand. Between machines it adds alias addresses to a real interface (Up), which a journal names so that
// they can be removed again (Down). It imports neither load nor the profiling side.
package netcfg

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// Config describes a private network.
type Config struct {
	ClientAddresses int  // 1 to MaxClientAddresses
	IPv6            bool // addresses of that family
	// Sockets is how many sockets will be open at once; the hash of established connections is sized for it.
	Sockets int
	// ReceiveBuffer and SendBuffer are the bytes of a socket's buffers, 0 for what the kernel gives.
	ReceiveBuffer, SendBuffer int
}

// MaxClientAddresses is how many alias addresses fit into the range set aside for them.
const MaxClientAddresses = 254

// Private is a network namespace of this process's own, kept by one OS thread that lives in it.
type Private struct {
	Server  netip.Addr
	Clients []netip.Addr
	// Unset are the sysctls that could not be set, as where /proc/sys is read-only. The namespace has the kernel's values.
	Unset []string
	// Backlog is the longest accept queue that the namespace allows.
	Backlog int
	inode   uint32
	work    chan func()
	closed  chan struct{}
}

// NewPrivate makes the namespace and configures it. It needs CAP_SYS_ADMIN and CAP_NET_ADMIN.
func NewPrivate(c Config) (*Private, error) {
	if c.ClientAddresses < 1 || c.ClientAddresses > MaxClientAddresses {
		return nil, fmt.Errorf("%d client addresses: want 1 to %d", c.ClientAddresses, MaxClientAddresses)
	}
	p := &Private{work: make(chan func()), closed: make(chan struct{})}
	p.Server, p.Clients = addresses(c)
	ready := make(chan error, 1)
	go p.live(ready, func() error { return p.enter(c) })
	if err := <-ready; err != nil {
		return nil, err
	}
	return p, nil
}

// live is the namespace's thread: it enters the namespace and runs what Do brings. The thread is never given back
// to the Go scheduler, so it ends with this function.
func (p *Private) live(ready chan<- error, enter func() error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread cannot end, and /proc/self shows its namespaces as the process's: take another.
		go p.live(ready, enter)
		<-p.closed
		runtime.UnlockOSThread()
		return
	}
	if err := enter(); err != nil {
		close(p.closed)
		ready <- err
		return
	}
	ready <- nil
	for {
		select {
		case f := <-p.work:
			f()
		case <-p.closed:
			return
		}
	}
}

// enter moves the current thread into a fresh namespace and configures it.
func (p *Private) enter(c Config) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return namespaceError(err)
	}
	// The size of a namespace's established hash is taken from the namespace it is made in (d1e5e6408b30, 6.1):
	// hence a second one within the first, and the host's setting is never touched.
	const childHash = "net.ipv4.tcp_child_ehash_entries"
	switch err := setSysctl(childHash, hashEntries(c.Sockets)); {
	case err == nil:
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return namespaceError(err)
		}
	case refused(err):
		p.Unset = append(p.Unset, childHash)
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return fmt.Errorf("stat /proc/thread-self/ns/net: %w (is /proc mounted?)", err)
	}
	p.inode = uint32(st.Ino)
	if err := p.setSysctls(c); err != nil {
		return err
	}
	p.Backlog = HostBacklog()
	return p.addAddresses()
}

func namespaceError(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("make a network namespace: %w; run as root with CAP_SYS_ADMIN", err)
	}
	return fmt.Errorf("make a network namespace: %w (needs CONFIG_NET_NS and user.max_net_namespaces above 0)", err)
}

// Inode is the namespace's nsfs inode number, by which the kernel's probes know it.
func (p *Private) Inode() uint32 { return p.inode }

// Do runs f on the thread that lives in the namespace and returns what f returns. Threads that f starts, and
// system calls that f makes directly, are in the namespace; goroutines that f starts are not.
func (p *Private) Do(f func() error) error {
	done := make(chan error, 1)
	select {
	case p.work <- func() { done <- f() }:
		return <-done
	case <-p.closed:
		return fmt.Errorf("the network namespace is closed")
	}
}

// Start starts cmd as a process in the namespace. The kernel kills the process when this one ends, however it ends.
func (p *Private) Start(cmd *exec.Cmd) error {
	return p.Do(func() error {
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &unix.SysProcAttr{}
		}
		// The signal comes when the thread that started it ends, and this thread lives as long as p.
		cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
		return cmd.Start()
	})
}

// Close lets go of the namespace; the kernel removes it once its last process has ended too.
func (p *Private) Close() {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
}
