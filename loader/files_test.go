package loader

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/netcfg"
	"github.com/connprof/connprof/test/check"
)

// openFiles is the open files of a namespace's sockets.
func openFiles(t *testing.T, p *Probes, n *netcfg.Private) (list []kernel.OpenFile) {
	t.Helper()
	if err := p.OpenFiles(func(f *kernel.OpenFile) error {
		if f.Netns == n.Inode() {
			c := *f
			if f.Endpoint != nil {
				e := *f.Endpoint
				c.Endpoint = &e
			}
			list = append(list, c)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestOpenFilesAreThoseOfTheProcess(t *testing.T) {
	p, k := loadLive(t), openKinds(t)
	want := map[int]bool{}
	for _, fd := range k.fds {
		want[fd] = true
	}
	walked := map[uint64]kernel.Endpoint{}
	for _, e := range lookAt(t, p, k.Private, p.WalkAll) {
		walked[e.Sock] = e
	}
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range openFiles(t, p, k.Private) {
		if !want[int(f.FD)] || int(f.PID) != os.Getpid() || int(f.TID) != os.Getpid() || f.Comm+"\n" != string(comm) {
			t.Errorf("%+v is no file of this process's, which is %d, %q", f, os.Getpid(), comm)
		}
		delete(want, int(f.FD))
		e, hashed := walked[f.Sock]
		switch int(f.FD) {
		case k.unbound, k.bound:
			if hashed || f.Endpoint == nil {
				t.Errorf("%+v is in no table, and yet walked: %v", f, hashed)
				continue
			}
			e = *f.Endpoint
		default:
			if !hashed || f.Endpoint != nil {
				t.Errorf("%+v: walked %v, want that its endpoint comes by the walk alone", f, hashed)
			}
		}
		var stat unix.Stat_t
		if err := unix.Fstat(int(f.FD), &stat); err != nil {
			t.Fatal(err)
		}
		if e.File != f.File || e.Sock != f.Sock || e.Netns != f.Netns || e.Live.Inode != stat.Ino || e.Cache == 0 ||
			e.Objects[kernel.TCPSock] != 1 || e.Objects[kernel.File] != 1 {
			t.Errorf("%+v does not fit %+v with inode %d", e, f, stat.Ino)
		}
	}
	for fd := range want {
		t.Errorf("descriptor %d is not found", fd)
	}
}

func TestASockInNoTableComesWithAllThatHangsOnIt(t *testing.T) {
	p, k := loadLive(t), openKinds(t)
	found := map[uint32]kernel.Endpoint{}
	for _, f := range openFiles(t, p, k.Private) {
		if f.Endpoint != nil {
			found[f.FD] = *f.Endpoint
		}
	}
	bound, unbound := found[uint32(k.bound)], found[uint32(k.unbound)]
	if len(found) != 2 || bound.State != kernel.StateClose || unbound.State != kernel.StateClose {
		t.Fatalf("%+v, want the two sockets that are not connected", found)
	}
	if bound.Local.String() != "127.0.0.1:5001" || bound.Objects[kernel.BindBucket] != 1 || !bound.BindLocked || !bound.BindSole {
		t.Errorf("the bound one is %+v", bound)
	}
	if unbound.Objects[kernel.BindBucket] != 0 || unbound.Live.Idle >= 0 || unbound.Live.Age >= 0 || unbound.Dead {
		t.Errorf("the unbound one is %+v", unbound)
	}
}

func TestAThreadsOwnTableOfFilesIsFound(t *testing.T) {
	p, n := loadLive(t), private(t)
	var netns int
	in(t, n, func() (err error) {
		netns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	defer unix.Close(netns)
	type made struct{ tid, fd int }
	ready, done := make(chan made), make(chan struct{})
	failed := make(chan error, 1)
	go check.OnThreadOfItsOwn(func() {
		fd, err := socketInTableOfItsOwn(netns)
		failed <- err
		ready <- made{unix.Gettid(), fd}
		<-done
	})
	defer close(done)
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	thread := <-ready
	files := openFiles(t, p, n)
	if len(files) != 1 || int(files[0].TID) != thread.tid || int(files[0].FD) != thread.fd || int(files[0].PID) != os.Getpid() {
		t.Errorf("files %+v, want descriptor %d of thread %d of process %d", files, thread.fd, thread.tid, os.Getpid())
	}
}

// socketInTableOfItsOwn makes a socket in a namespace on the calling thread, which it gives a table of files.
func socketInTableOfItsOwn(netns int) (fd int, err error) {
	if err := errors.Join(unix.Unshare(unix.CLONE_FILES), unix.Setns(netns, unix.CLONE_NEWNET)); err != nil {
		return -1, err
	}
	return tcpSocket()
}

// A descriptor that was sent and not received is in no table of files; the socket still has its file.
func TestASocketInFlightIsWalkedAndOpenNowhere(t *testing.T) {
	p, k := loadLive(t), openKinds(t)
	port := localPort(t, k.client)
	pipe, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	sent, err := unix.Dup(k.client)
	if err != nil {
		t.Fatal(err)
	}
	var stat unix.Stat_t
	if err := errors.Join(unix.Fstat(sent, &stat), unix.Sendmsg(pipe[0], []byte{0}, unix.UnixRights(sent), nil, 0),
		unix.Close(sent), unix.Close(k.client)); err != nil {
		t.Fatal(err)
	}
	k.fds[1] = -1
	e := find(t, lookAt(t, p, k.Private, p.WalkAll), port, kindsPort)
	if e.File == 0 || e.Live.Inode != stat.Ino || e.Dead {
		t.Errorf("%+v, want a socket with a file of inode %d", e, stat.Ino)
	}
	for _, f := range openFiles(t, p, k.Private) {
		if f.File == e.File {
			t.Errorf("%+v is open", f)
		}
	}
}

// An MPTCP socket's file is that of its subflows. Kernels without MPTCP have nothing to find.
func TestAnMPTCPSocketIsKnownByItsFile(t *testing.T) {
	p, n := loadLive(t), private(t)
	var listener int
	in(t, n, func() (err error) {
		listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
		if err != nil {
			return nil
		}
		return errors.Join(unix.Bind(listener, at(kindsPort)), unix.Listen(listener, 1))
	})
	if listener < 0 {
		if _, err := os.Stat("/proc/sys/net/mptcp/enabled"); err == nil {
			t.Error("the kernel has MPTCP and makes no socket of it")
		}
		return
	}
	defer unix.Close(listener)
	files := openFiles(t, p, n)
	e := find(t, lookAt(t, p, n, p.WalkAll), kindsPort, 0)
	if len(files) != 1 || files[0].File != e.File || files[0].Sock == e.Sock || files[0].Endpoint != nil || !e.Live.MPTCP {
		t.Errorf("files %+v, want the one of the subflow %+v", files, e)
	}
}
