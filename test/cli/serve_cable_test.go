package cli

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
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
	ends  [2]*os.File // near's, far's
	fate  atomic.Pointer[fate]
	delay atomic.Int64 // ns, each way
}

// fate tells whether a frame is lost. It is called by both directions' goroutines.
type fate func(frame) bool

// ahead is how many frames may be on their way in one direction.
const ahead = 1 << 16

// newCabled connects two hosts by a cable. ok is false on a kernel without TAP devices.
func newCabled(t *testing.T) (p pair, c *cable, ok bool) {
	t.Helper()
	p.near, p.far, c = newHost(t, moreSockets), newHost(t, moreSockets), &cable{}
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
		t.Cleanup(func() { tap.Close() })
		c.ends[i] = tap
	}
	c.lose(func(frame) bool { return false })
	go c.carry(c.ends[0], c.ends[1])
	go c.carry(c.ends[1], c.ends[0])
	p.addressed(t)
	return p, c, true
}

// newTap makes a host's eth0, which is there as long as the file is open.
func newTap(host *netcfg.Private) (tap *os.File, err error) {
	err = host.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		request, err := unix.NewIfreq("eth0")
		if err == nil {
			request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		// Not before it has its device can it be polled.
		if tap = os.NewFile(uintptr(fd), "/dev/net/tun"); err != nil {
			return err
		}
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		// So that no frame is lost but by the test.
		return errors.Join(netlink.LinkSetTxQLen(link, ahead), setUp("eth0"))
	})
	if err != nil && tap != nil {
		tap.Close()
	}
	return tap, err
}

type onItsWay struct {
	frame frame
	due   time.Time
}

// carry takes frames from one end to the other until one is closed.
func (c *cable) carry(from, to *os.File) {
	way := make(chan onItsWay, ahead)
	defer close(way)
	go func() {
		for f := range way {
			time.Sleep(time.Until(f.due))
			_, _ = to.Write(f.frame) // EIO while that end is down
		}
	}()
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil || (*c.fate.Load())(b[:n]) {
			continue
		}
		way <- onItsWay{append(frame(nil), b[:n]...), time.Now().Add(time.Duration(c.delay.Load()))}
	}
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
