package loader

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/netcfg"
)

// listed is a line of /proc/net/tcp, which the kernel makes without any of what connprof reads.
type listed struct {
	state         kernel.State
	local, remote string
	tx, rx, uid   uint64
	inode         uint64
}

// listedIn is what the kernel lists in a namespace.
func listedIn(t *testing.T, n *netcfg.Private) (list []listed) {
	t.Helper()
	var text []byte
	in(t, n, func() (err error) { text, err = os.ReadFile("/proc/thread-self/net/tcp"); return err })
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] {
		f := strings.Fields(line)
		state, _ := hex.DecodeString(f[3])
		number := func(s string, base int) uint64 {
			n, err := strconv.ParseUint(s, base, 64)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			return n
		}
		tx, rx, _ := strings.Cut(f[4], ":")
		list = append(list, listed{state: kernel.State(state[0]), local: f[1], remote: f[2], tx: number(tx, 16),
			rx: number(rx, 16), uid: number(f[7], 10), inode: number(f[9], 10)})
	}
	return list
}

// asListed is an endpoint in the form of /proc/net/tcp. That shows no owner of what has no file.
func asListed(e kernel.Endpoint) listed {
	hexAddress := func(a [4]byte, port uint16) string {
		return fmt.Sprintf("%02X%02X%02X%02X:%04X", a[3], a[2], a[1], a[0], port)
	}
	l := listed{state: e.State, local: hexAddress(e.Local.Addr().As4(), e.Local.Port()),
		remote: hexAddress(e.Remote.Addr().As4(), e.Remote.Port()), tx: uint64(e.Live.Unacked), rx: uint64(e.Live.Unread),
		uid: uint64(e.Live.UID), inode: e.Live.Inode}
	if e.State == kernel.StateListen {
		l.rx = uint64(e.Live.AcceptQueue)
	}
	if e.State == kernel.StateNewSynRecv {
		l.state = 3 // the kernel shows it as SYN_RECV
	}
	return l
}

// kinds is one socket of each kind that a look has to find, in a namespace.
type kinds struct {
	*netcfg.Private
	listener, client, server int
	unbound, bound           int
	fds                      []int
}

const kindsPort = 8090

func openKinds(t *testing.T) *kinds {
	t.Helper()
	k := &kinds{Private: private(t)}
	t.Cleanup(func() {
		for _, fd := range k.fds {
			unix.Close(fd)
		}
	})
	in(t, k.Private, func() (err error) {
		if k.listener, err = listenOn(kindsPort); err != nil {
			return err
		}
		if err := smallQueues(k.listener); err != nil {
			return err
		}
		k.client, k.server, err = pair(k.listener, kindsPort, smallQueues)
		return err
	})
	k.fds = append(k.fds, k.listener, k.client, k.server)
	k.queued(t)
	k.finished(t)
	in(t, k.Private, func() (err error) {
		if k.unbound, err = tcpSocket(); err != nil {
			return err
		}
		if k.bound, err = tcpSocket(); err != nil {
			return err
		}
		return unix.Bind(k.bound, at(5001))
	})
	k.fds = append(k.fds, k.unbound, k.bound)
	k.settle(t)
	return k
}

// smallQueues keeps what a socket can queue within what the walk follows of a queue.
func smallQueues(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 128<<10)
}

// settle waits until the kernel lists twice the same: acknowledgements come late.
func (k *kinds) settle(t *testing.T) {
	t.Helper()
	for was := listedIn(t, k.Private); ; {
		time.Sleep(100 * time.Millisecond)
		is := listedIn(t, k.Private)
		if slices.Equal(was, is) {
			return
		}
		was = is
	}
}

// queued opens two connections that nobody accepts, and has data lie on both ends of the accepted one.
func (k *kinds) queued(t *testing.T) {
	for range 2 {
		in(t, k.Private, func() error {
			fd, err := tcpSocket()
			if err != nil {
				return err
			}
			k.fds = append(k.fds, fd)
			return unix.Connect(fd, at(kindsPort))
		})
	}
	if _, err := unix.Write(k.client, make([]byte, 3000)); err != nil {
		t.Fatal(err)
	}
	k.settle(t) // its acknowledgement comes before the client hears nothing more
	if err := errors.Join(hearNothing(k.client), writeAll(k.server)); err != nil {
		t.Fatal(err)
	}
}

// hearNothing has a socket throw away every packet that comes in, so that what is sent to it stays with the sender.
func hearNothing(fd int) error {
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
}

func writeAll(fd int) error {
	_, err := unix.Write(fd, make([]byte, 100<<10))
	return err
}

// finished leaves an orphan, whose data nobody acknowledges, and a connection in TIME_WAIT.
func (k *kinds) finished(t *testing.T) {
	for _, orphan := range []bool{true, false} {
		in(t, k.Private, func() error {
			listener, err := listenOn(kindsPort + 1)
			if err != nil {
				return err
			}
			defer unix.Close(listener)
			client, server, err := pair(listener, kindsPort+1, smallQueues)
			if err != nil {
				return err
			}
			if !orphan {
				defer unix.Close(server)
				return unix.Close(client)
			}
			k.fds = append(k.fds, server)
			return errors.Join(hearNothing(server), writeAll(client), unix.Close(client))
		})
	}
}

// lookAt is what WalkAll finds in a namespace.
func lookAt(t *testing.T, p *Probes, n *netcfg.Private, walk func(func(*kernel.Endpoint) error) (Coverage, error)) (list []kernel.Endpoint) {
	t.Helper()
	if _, err := walk(func(e *kernel.Endpoint) error {
		if e.Netns == n.Inode() {
			list = append(list, *e)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list
}
