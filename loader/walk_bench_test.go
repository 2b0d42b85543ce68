package loader

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/netcfg"
	"github.com/connprof/connprof/test/check"
)

// BenchmarkWalk walks idle connections, both ends of which are in an epoll set, by the iterator and by the hash tables.
func BenchmarkWalk(b *testing.B) {
	const threads, each = 5, 8000 // the ports are below those that connect() chooses
	n, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, Sockets: 2 * threads * each})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(n.Close)
	for i := range threads {
		b.Cleanup(holdConnections(b, n, 900+i, each))
	}
	plain, live := load(b, Config{Hooks: WalkOnly}), loadLive(b)
	nothing := func(*kernel.Endpoint) error { return nil }
	ways := map[string]func(func(*kernel.Endpoint) error) error{
		"iterator":      func(visit func(*kernel.Endpoint) error) error { return plain.Walk(visit, n) },
		"iterator live": func(visit func(*kernel.Endpoint) error) error { return live.Walk(visit, n) },
		"tables live":   func(visit func(*kernel.Endpoint) error) error { _, err := live.WalkAll(visit); return err },
		"open files": func(func(*kernel.Endpoint) error) error {
			return live.OpenFiles(func(*kernel.OpenFile) error { return nothing(nil) })
		},
	}
	for name, walk := range ways {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := walk(nothing); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(2*threads*each), "ns/endpoint")
		})
	}
}

// holdConnections opens connections on a thread with a table of files of its own, until it is told to end.
func holdConnections(b *testing.B, n *netcfg.Private, port, connections int) (end func()) {
	b.Helper()
	netns := -1
	in(b, n, func() (err error) {
		netns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	defer unix.Close(netns)
	opened, done := make(chan error), make(chan struct{})
	go check.OnThreadOfItsOwn(func() {
		err := errors.Join(unix.Unshare(unix.CLONE_FILES), unix.Setns(netns, unix.CLONE_NEWNET))
		if err == nil {
			err = openInEpollSet(port, connections)
		}
		opened <- err
		<-done
	})
	if err := <-opened; err != nil {
		b.Fatal(err)
	}
	return func() { close(done) }
}

func openInEpollSet(port, connections int) error {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	listener, err := listenOn(port)
	if err != nil {
		return err
	}
	for range connections {
		client, server, err := pair(listener, port, func(int) error { return nil })
		if err != nil {
			return err
		}
		for _, fd := range []int{client, server} {
			if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
				return err
			}
		}
	}
	return nil
}
