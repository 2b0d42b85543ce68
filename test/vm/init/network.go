package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// retry is the pause between two looks at something that another machine or the kernel is about to do.
const retry = 200 * time.Millisecond

// cardLimit is how long a driver may take to make the interface, and again to see its cable, on an emulated processor.
const cardLimit = 30 * time.Second

// awaitEth0 waits until the interface eth0 is there with all of these flags.
func awaitEth0(flags net.Flags) error {
	for end := time.Now().Add(cardLimit); ; time.Sleep(retry) {
		i, err := net.InterfaceByName("eth0")
		if err == nil && i.Flags&flags == flags {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("eth0 was not %q within %v: %+v, %v", flags, cardLimit, i, err)
		}
	}
}

// addressEth0 gives eth0 an IPv4 address and sets it up, once its driver has made it. Then it has a carrier.
func addressEth0(address string) error {
	prefix, err := netip.ParsePrefix(address)
	if err != nil {
		return fmt.Errorf("address of eth0: %w", err)
	}
	if err := awaitEth0(0); err != nil {
		return err
	}
	mask := net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("set eth0 up: socket: %w", err)
	}
	defer unix.Close(s)
	for _, step := range []struct {
		request uint
		set     func(*unix.Ifreq) error
	}{
		{unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(prefix.Addr().AsSlice()) }},
		{unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr(mask) }},
		{unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
	} {
		r, err := unix.NewIfreq("eth0")
		if err == nil {
			err = step.set(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(s, step.request, r)
		}
		if err != nil {
			return fmt.Errorf("set eth0 to %s, ioctl %#x: %w", address, step.request, err)
		}
	}
	return awaitEth0(net.FlagUp | net.FlagRunning)
}

// await waits until somebody takes TCP connections at an address. An empty one needs no waiting.
func await(ctx context.Context, address string) error {
	if address == "" {
		return nil
	}
	dialer := net.Dialer{Timeout: time.Second}
	for {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
			return fmt.Errorf("nobody took connections at %s: %w", address, err)
		}
	}
}
