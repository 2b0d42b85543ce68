package cli

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/netcfg"
)

// cable is an Ethernet cable of the test's own: eth0 is a TAP device at both ends, and each frame is carried over by hand,
// or late, or not at all. So loss, delay and cuts need nothing of the kernel but CONFIG_TUN; netem is not in every kernel.
type cable struct {
	ends       [2]int // near's, far's: file descriptors
	fate       atomic.Pointer[fate]
	delay      atomic.Int64 // ns, each way
	gone, hand int          // a pipe: hand is closed to end the carriers
	carriers   sync.WaitGroup
	once       sync.Once
}

// fate tells whether a frame is lost. It is called by both directions' goroutines.
type fate func(frame) bool

// ahead is how many frames may wait at an end until they are carried.
const ahead = 1 << 16

// newCabled connects two hosts by a cable. ok is false on a kernel without TAP devices.
func newCabled(t *testing.T) (p pair, c *cable, ok bool) {
	t.Helper()
	p.near, p.far, c = newHost(t, moreSockets), newHost(t, moreSockets), newCable(t)
	for i, host := range []*netcfg.Private{p.near, p.far} {
		tap, err := newTap(host)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
			if value, known := kernel.ConfigOption("CONFIG_TUN"); known && value == "y" {
				t.Errorf("the kernel has CONFIG_TUN and makes no TAP device: %v", err)
			}
			t.Logf("this kernel has no TAP devices (CONFIG_TUN): %v", err)
			return p, nil, false
		}
		if err != nil {
			t.Fatal(err)
		}
		c.ends[i] = tap
	}
	c.carriers.Go(func() { c.carry(t, c.ends[0], c.ends[1]) })
	c.carriers.Go(func() { c.carry(t, c.ends[1], c.ends[0]) })
	p.addressed(t)
	return p, c, true
}

// newCable is a cable that leads nowhere yet and loses nothing.
func newCable(t *testing.T) *cable {
	t.Helper()
	c := &cable{ends: [2]int{-1, -1}}
	c.lose(func(frame) bool { return false })
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	c.gone, c.hand = pipe[0], pipe[1]
	t.Cleanup(c.pull)
	return c
}

// newTap makes a host's eth0, which is there as long as the file descriptor is open.
func newTap(host *netcfg.Private) (tap int, err error) {
	tap = -1
	err = host.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		tap = fd
		request, err := unix.NewIfreq("eth0")
		if err == nil {
			request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			return err
		}
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		// So that no frame is lost but by the test.
		return errors.Join(netlink.LinkSetTxQLen(link, ahead), setUp("eth0"))
	})
	if err != nil && tap >= 0 {
		_ = unix.Close(tap)
	}
	return tap, err
}

type onItsWay struct {
	frame frame
	due   time.Time
}

// urgent is the nice value of what carries frames. A cable needs no processor: on a busy host a carrier that waited for one
// would be a network with seconds of delay.
const urgent = -20

// carry takes frames from one end to the other until the cable is gone. It has a thread of its own, which waits in poll(2) alone.
func (c *cable) carry(t *testing.T, from, to int) {
	runtime.LockOSThread() // for good: the thread ends with it
	err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), urgent)
	var way []onItsWay
	b := make([]byte, 1<<16)
	for err == nil {
		var wait *unix.Timespec
		if len(way) > 0 {
			wait = new(unix.NsecToTimespec(max(0, int64(time.Until(way[0].due)))))
		}
		waiting := []unix.PollFd{{Fd: int32(from), Events: unix.POLLIN}, {Fd: int32(c.gone), Events: unix.POLLIN}}
		if _, err = unix.Ppoll(waiting, wait, nil); errors.Is(err, unix.EINTR) {
			err = nil
			continue
		}
		if waiting[1].Revents != 0 {
			return
		}
		for n := 0; err == nil && waiting[0].Revents != 0; {
			// EBADFD: the device has been deleted.
			if n, err = unix.Read(from, b); n > 0 && !(*c.fate.Load())(b[:n]) {
				way = append(way, onItsWay{append(frame(nil), b[:n]...), time.Now().Add(time.Duration(c.delay.Load()))})
			}
			if errors.Is(err, unix.EAGAIN) {
				err = nil
				break
			}
		}
		for len(way) > 0 && time.Until(way[0].due) <= 0 {
			_, _ = unix.Write(to, way[0].frame) // EIO while that end is down
			way = way[1:]
		}
	}
	t.Errorf("the cable: %v", err)
}

// pull takes the cable away, and with it both ends' interfaces.
func (c *cable) pull() {
	c.once.Do(func() {
		_ = unix.Close(c.hand) // nothing writes to this pipe
		c.carriers.Wait()
		for _, fd := range append(c.ends[:], c.gone) {
			_ = unix.Close(fd)
		}
	})
}

// lose decides from now on which frames are lost.
func (c *cable) lose(f fate) { c.fate.Store(&f) }

// cut loses every frame from now on. Neither end is told: its interface still has a carrier.
func (c *cable) cut() { c.lose(func(frame) bool { return true }) }

// losing loses that part of all frames.
func losing(part float64) fate { return func(frame) bool { return rand.Float64() < part } }

// synsTo loses the SYNs to a range of ports, as a firewall does that lets nobody in.
func synsTo(low, high int) fate {
	return func(f frame) bool {
		_, to, flags, ok := f.tcp()
		const syn, ack = 0x02, 0x10
		return ok && flags&(syn|ack) == syn && low <= to && to <= high
	}
}

// control loses what belongs to the control connection, and nothing else.
func control(f frame) bool {
	from, to, _, ok := f.tcp()
	return ok && (from == servePort || to == servePort)
}

// frame is an Ethernet frame.
type frame []byte

// tcp are the ports and flags of an IPv4 TCP segment.
func (f frame) tcp() (from, to int, flags byte, ok bool) {
	const ethernet, least = 14, 14 + 20 + 20
	if len(f) < least || binary.BigEndian.Uint16(f[12:]) != unix.ETH_P_IP || f[ethernet+9] != unix.IPPROTO_TCP {
		return 0, 0, 0, false
	}
	segment := f[ethernet+int(f[ethernet]&0xf)*4:]
	if len(segment) < 20 {
		return 0, 0, 0, false
	}
	return int(binary.BigEndian.Uint16(segment)), int(binary.BigEndian.Uint16(segment[2:])), segment[13], true
}
