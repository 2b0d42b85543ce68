package cli

import (
	"errors"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
)

// otherConns are connections that are none of connprof's own: a tenth of those of the run that they come and go beside.
const otherConns = 2_000

// otherPairs opens them in the host's network namespace, and gives a function that closes them. They are on a thread with a table of
// files of its own: who looks at this process's files meanwhile, as agents do, makes inodes of /proc for each, which are slab memory, too.
func otherPairs(t *testing.T) (closeAll func()) {
	t.Helper()
	opened, end, ended := make(chan error), make(chan struct{}), make(chan struct{})
	go check.OnThreadOfItsOwn(func() {
		defer close(ended)
		opened <- errors.Join(unix.Unshare(unix.CLONE_FILES), connectToSelf(otherConns))
		<-end
	})
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	closeAll = sync.OnceFunc(func() {
		close(end)
		<-ended
	})
	t.Cleanup(closeAll)
	return closeAll
}

// connectToSelf opens a listener and so many connections to it.
func connectToSelf(conns int) error {
	listener, at, err := listenAnywhere()
	for range conns {
		if err == nil {
			_, err = connected(at)
		}
		if err == nil {
			_, _, err = unix.Accept(listener)
		}
	}
	return err
}

// listenAnywhere listens on a free port of the loopback address.
func listenAnywhere() (fd int, at unix.Sockaddr, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, nil, err
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 16)); err != nil {
		return -1, nil, err
	}
	at, err = unix.Getsockname(fd)
	return fd, at, err
}

func connected(to unix.Sockaddr) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	return fd, unix.Connect(fd, to)
}

// beside runs an experiment, and does something in its ramp, which takes long enough.
func beside(t *testing.T, do func()) *recording.Machine {
	t.Helper()
	const conns, rate = 20_000, 4_000 // it tells of them every 2 s
	cmd := command(t, "run", "--ips", "20", "--conns", strconv.Itoa(conns), "--rate", strconv.Itoa(rate), "-o", "rec.json")
	c := start(t, cmd)
	c.untilUp(t, conns)
	do()
	if up, _ := c.up(conns); up >= conns {
		t.Fatal("the ramp was over before all that was done")
	}
	c.wait(t).exits(t, exitDone)
	return readOne(t, cmd.Dir+"/rec.json")
}

// The host's slab memory grows by the run's connections and by others'. What is left is less than a hundredth.
func TestOtherConnectionsExplainTheirPart(t *testing.T) {
	closeAll := func() {}
	for _, c := range []struct {
		name string
		do   func()
		sign int
	}{
		{"they come", func() { closeAll = otherPairs(t) }, 1},
		{"they go", func() { closeAll() }, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := beside(t, c.do)
			holds(t, check.Growth(m, 0.01))
			o := m.Reconcile.Others
			if o == nil {
				t.Fatalf("others were not counted: %q", m.Notes)
			}
			t.Logf("%d of %d bytes by others, %.4f unexplained", o.PageBytes, m.Reconcile.SlabDeltaBytes, m.Reconcile.UnexplainedRatio)
			// A socket is a struct sock, a socket with its inode, a dentry and a file: 3.5 to 4.5 KiB. How many others come and go is
			// not known: what is in TIME_WAIT costs a fifteenth.
			if pages := int64(c.sign) * o.PageBytes; pages < 2*otherConns*3_300 || pages > 2*otherConns*4_800 {
				t.Errorf("%+v, want %d pairs", o, otherConns)
			}
		})
	}
}
