package netcfg

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/sockfilter"
)

// When the probes are sent. RFC 5227 spaces them one to two seconds apart and waits two more: over four seconds in all,
// for hosts that boot by the thousand at once. We are to be done within three.
const (
	probeRounds   = 3
	probeInterval = 800 * time.Millisecond
	probeWait     = 900 * time.Millisecond // after the last round
)

// ProbeTime is how long Up asks for owners of the addresses; one question goes unanswered for probeWait at least.
const ProbeTime = (probeRounds-1)*probeInterval + probeWait

// errStopped is what an interrupted Up ends with.
var errStopped = errors.New("interrupted")

// claim is what a packet on the wire says about an address.
type claim struct {
	address netip.Addr
	mac     net.HardwareAddr
	probe   bool // it only asks for the address, as we do: somebody else is about to take it
}

// frame is a packet and the link-layer address that it goes to.
type frame struct {
	packet []byte
	to     net.HardwareAddr
}

// protocol is how a family's addresses are asked for, and how their owners answer.
type protocol struct {
	etherType uint16
	filter    []bpf.Instruction // what of that type our socket gets; nil is all
	// Both make a packet about an address, in the name of the interface that has the MAC.
	question, announcement func(mac net.HardwareAddr, a netip.Addr) (frame, error)
	// heard reads a packet that came from the link-layer address from.
	heard func(packet []byte, from net.HardwareAddr) (c claim, ok bool)
	// listen has the interface receive what others ask about these addresses, until it is released.
	listen func(index int, wanted []netip.Prefix) (release func(), err error)
}

func protocolOf(a netip.Addr) protocol {
	if a.Is4() {
		return arp
	}
	return neighbourDiscovery
}

// wire is a packet socket on one interface.
type wire struct {
	fd int
	device
	protocol
}

func openWire(d device, p protocol) (*wire, error) {
	// Protocol 0: it hears nothing before it is bound to its interface.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w (needs CAP_NET_RAW and CONFIG_PACKET)", err)
	}
	w := &wire{fd, d, p}
	// A burst of answers to all questions fits; what does not is counted, see lost.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20)
	if len(p.filter) > 0 {
		err = sockfilter.Attach(fd, p.filter)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(p.etherType), Ifindex: d.index})
	}
	if err != nil {
		w.close()
		return nil, fmt.Errorf("listen on %s: %w", Printable(d.name), err)
	}
	return w, nil
}

func bigEndian(v uint16) uint16 { return v>>8 | v<<8 } // on every machine that connprof has objects for

func (w *wire) close() { _ = unix.Close(w.fd) }

// send makes a packet about an address and sends it.
func (w *wire) send(about func(net.HardwareAddr, netip.Addr) (frame, error), a netip.Addr) error {
	f, err := about(w.mac, a)
	if err != nil {
		return err
	}
	at := &unix.SockaddrLinklayer{Protocol: bigEndian(w.etherType), Ifindex: w.index, Halen: uint8(len(f.to))}
	copy(at.Addr[:], f.to)
	return unix.Sendto(w.fd, f.packet, 0, at)
}

// sendFixes are what lies behind the kernel's refusals to send. Without a carrier an interface drops what it is given, and
// the kernel reports that as a queue without room.
var sendFixes = fixes{
	unix.ENOBUFS:  " (the interface has no carrier any more, or its queue is full); see ip link and try again",
	unix.ENETDOWN: " (the interface was set down meanwhile); bring it up and try again",
	unix.ENODEV:   " (the interface has vanished meanwhile)",
	unix.ENXIO:    " (the interface has vanished meanwhile)",
}

// announce tells the neighbours of the addresses, once, so that those who remember an earlier owner forget it.
func (w *wire) announce(added []netip.Prefix) error {
	for _, p := range added {
		if err := w.send(w.announcement, p.Addr()); err != nil {
			return fmt.Errorf("announce %s on %s: %w%s", p.Addr(), Printable(w.name), err, sendFixes.of(err))
		}
	}
	return nil
}

// prove asks for every address probeRounds times, all of them at once, and returns an error that names those in use and
// who has them.
func (w *wire) prove(wanted []netip.Prefix, stop <-chan struct{}) error {
	release, err := w.listen(w.index, wanted)
	if err != nil {
		return err
	}
	defer release()
	owners := map[netip.Addr]claim{}
	own := ownMACs()
	for round := range probeRounds {
		for _, p := range wanted {
			if err := w.send(w.question, p.Addr()); err != nil {
				return fmt.Errorf("ask for %s on %s: %w%s", p.Addr(), Printable(w.name), err, sendFixes.of(err))
			}
		}
		wait := probeInterval
		if round == probeRounds-1 {
			wait = probeWait
		}
		if err := w.hear(owners, own, time.Now().Add(wait), stop); err != nil {
			return fmt.Errorf("%w; nothing was added", err)
		}
	}
	if lost := w.lost(); lost > 0 {
		return fmt.Errorf("%d packets on %s came too fast to be read, answers perhaps among them; try again",
			lost, Printable(w.name))
	}
	return conflicts(wanted, owners)
}

// stopCheck is how often a wait for packets looks whether it is to stop.
const stopCheck = 50 * time.Millisecond

// hear notes who claims an address, until the time has come.
func (w *wire) hear(owners map[netip.Addr]claim, own []net.HardwareAddr, until time.Time, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return errStopped
		default:
		}
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		timeout := int(min(left, stopCheck)/time.Millisecond) + 1
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, timeout)
		if err == nil {
			err = w.drain(owners, own)
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("listen on %s: %w", Printable(w.name), err)
		}
	}
}

func (w *wire) drain(owners map[netip.Addr]claim, own []net.HardwareAddr) error {
	var packet [2048]byte
	for {
		n, from, err := unix.Recvfrom(w.fd, packet[:], unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return err
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		// What carries the tag of a VLAN comes by as well; it is the VLAN interface's, or nobody's.
		if !ok || link.Ifindex != w.index || link.Pkttype > unix.PACKET_MULTICAST || link.Halen != 6 {
			continue
		}
		c, ok := w.heard(packet[:n], net.HardwareAddr(link.Addr[:6]))
		if !ok || c.probe && slices.ContainsFunc(own, func(m net.HardwareAddr) bool { return bytes.Equal(m, c.mac) }) {
			continue
		}
		if known, ok := owners[c.address]; !ok || known.probe {
			c.mac = slices.Clone(c.mac)
			owners[c.address] = c
		}
	}
}

// lost is how many packets the socket had no room for.
func (w *wire) lost() uint32 {
	stats, err := unix.GetsockoptTpacketStats(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0
	}
	return stats.Drops
}

// ownMACs is what our own questions carry when something sends them back to us (RFC 5227, 2.1.1).
func ownMACs() (list []net.HardwareAddr) {
	interfaces, _ := net.Interfaces() // the socket's interface is known to work
	for _, i := range interfaces {
		list = append(list, i.HardwareAddr)
	}
	return list
}

func conflicts(wanted []netip.Prefix, owners map[netip.Addr]claim) error {
	var problems []string
	for _, p := range wanted {
		switch c, ok := owners[p.Addr()]; {
		case ok && c.probe:
			problems = append(problems, fmt.Sprintf("%s is about to be taken by %s, which asks for it as well", p.Addr(), c.mac))
		case ok:
			problems = append(problems, fmt.Sprintf("%s is in use by %s", p.Addr(), c.mac))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%s; nothing was added: choose other addresses", strings.Join(problems, ", "))
}
