package netcfg

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// host is a namespace with one end of a cable, eth0.
type host struct {
	*Private
	mac net.HardwareAddr
}

// newCable is two hosts that are connected. ok is false on a kernel without virtual Ethernet pairs; that it says so
// is checked here.
func newCable(t *testing.T) (near, far *host, ok bool) {
	t.Helper()
	near = &host{Private: newPrivate(t, Config{ClientAddresses: 1, Sockets: 10})}
	far = &host{Private: newPrivate(t, Config{ClientAddresses: 1, Sockets: 10})}
	var there *os.File
	far.do(t, func() (err error) { there, err = os.Open("/proc/thread-self/ns/net"); return err })
	defer there.Close()
	near.do(t, func() error {
		err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0",
			PeerNamespace: netlink.NsFd(int(there.Fd()))})
		ok = !errors.Is(err, unix.EOPNOTSUPP)
		if !ok {
			t.Logf("this kernel has no virtual Ethernet pairs (CONFIG_VETH): %v", err)
			return nil
		}
		return err
	})
	if !ok {
		return near, far, false
	}
	for _, h := range []*host{near, far} {
		h.do(t, func() error { return up("eth0") })
	}
	for _, h := range []*host{near, far} {
		h.do(t, func() error { return untilRunning(h, "eth0") })
	}
	return near, far, true
}

func (h *host) do(t *testing.T, f func() error) {
	t.Helper()
	if err := h.Do(f); err != nil {
		t.Fatal(err)
	}
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

func untilRunning(h *host, name string) error {
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if h.mac = link.Attrs().HardwareAddr; link.Attrs().RawFlags&carrier == carrier {
			return nil
		}
		if time.Now().After(end) {
			return errors.New(name + " has no carrier after a minute")
		}
	}
}

// has gives a host an address, as its admin would.
func (h *host) has(t *testing.T, device string, cidrs ...string) {
	t.Helper()
	h.do(t, func() error { return addByHand(device, cidrs...) })
}

func addByHand(device string, cidrs ...string) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	for _, cidr := range cidrs {
		a, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		if a.IP.To4() == nil {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, a); err != nil {
			return err
		}
	}
	return nil
}

// addresses lists those of an interface, but for the link-local one that the kernel gives it.
func (h *host) addresses(t *testing.T, device string) (list []string) {
	t.Helper()
	h.do(t, func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		all, err := listAddresses()
		for _, a := range all {
			if a.index == link.Attrs().Index && !a.prefix.Addr().IsLinkLocalUnicast() {
				list = append(list, a.prefix.String())
			}
		}
		return err
	})
	return list
}

// recorder keeps what comes in at a host's interface.
type recorder struct {
	fd    int
	index int
}

func (h *host) record(t *testing.T, device string) *recorder {
	t.Helper()
	r := &recorder{}
	h.do(t, func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		r.index = link.Attrs().Index
		if r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		_ = unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
		return unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: r.index})
	})
	t.Cleanup(func() { _ = unix.Close(r.fd) })
	return r
}

// packets are the frames of a type that have come in so far.
func (r *recorder) packets(t *testing.T, etherType uint16) (list [][]byte) {
	t.Helper()
	for {
		frame := make([]byte, 2048)
		n, from, err := unix.Recvfrom(r.fd, frame, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		incoming := from.(*unix.SockaddrLinklayer).Pkttype != unix.PACKET_OUTGOING
		if incoming && n > 14 && uint16(frame[12])<<8|uint16(frame[13]) == etherType {
			list = append(list, frame[:n])
		}
	}
}
