package live

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/measure"
	"github.com/connprof/connprof/loader"
	"github.com/connprof/connprof/netcfg"
)

// batchConnections make new slabs in every cache of an endpoint, so that their slabobj_ext vectors are seen to be made. A slab of
// eppoll_entry, the smallest object, has 64 to 73.
const batchConnections = 1000

// calibrate opens a batch of connections in a network namespace of its own with every allocation traced, and closes them again.
func calibrate() (account.Calibration, error) {
	network, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, Sockets: 2 * batchConnections})
	if err != nil {
		return account.Calibration{}, err
	}
	defer network.Close()
	m, err := measure.Start(measure.Config{Networks: []loader.Netns{network}, Endpoints: 2 * batchConnections})
	if err != nil {
		return account.Calibration{}, err
	}
	defer m.Close()
	if err := m.SetRoles(os.Getpid(), os.Getpid(), false); err != nil {
		return account.Calibration{}, err
	}
	var b batch
	defer b.close()
	err = network.Do(func() error {
		return b.open(network.Server.As4(), min(batchConnections, room()/2))
	})
	if err != nil {
		return account.Calibration{}, fmt.Errorf("open a batch of connections in a network namespace of connprof's own: %w", err)
	}
	return m.Calibration()
}

// room is how many files this process may still open, some kept for other uses.
func room() int {
	const kept = 100
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 2 * batchConnections
	}
	return int(min(limit.Cur, 1<<20)) - kept // Go raises the soft limit to the hard one
}

// batch is established connections whose both ends are in an epoll set, as those of servers are.
type batch struct {
	files []int
}

func (b *batch) keep(fd int, err error) (int, error) {
	if err == nil {
		b.files = append(b.files, fd)
	}
	return fd, err
}

func (b *batch) open(address [4]byte, connections int) error {
	if connections < 1 {
		return errors.New("the limit on open files leaves no room: raise RLIMIT_NOFILE")
	}
	set, err := b.keep(unix.EpollCreate1(unix.EPOLL_CLOEXEC))
	if err != nil {
		return err
	}
	listener, err := b.keep(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Bind(listener, &unix.SockaddrInet4{Addr: address}), unix.Listen(listener, 16)); err != nil {
		return err
	}
	to, err := unix.Getsockname(listener)
	if err != nil {
		return err
	}
	for range connections {
		if err := b.connect(set, listener, to); err != nil {
			return err
		}
	}
	return nil
}

// connect opens one connection. On the loopback interface it is established when connect() returns.
func (b *batch) connect(set, listener int, to unix.Sockaddr) error {
	client, err := b.keep(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	if err != nil {
		return err
	}
	// A reset at the end leaves nothing in TIME_WAIT, which would keep the namespace for a minute.
	linger := unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	if err := errors.Join(linger, unix.Connect(client, to)); err != nil {
		return err
	}
	server, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if _, err := b.keep(server, err); err != nil {
		return err
	}
	for _, fd := range []int{client, server} {
		if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) close() {
	for _, fd := range b.files {
		_ = unix.Close(fd)
	}
	b.files = nil
}
