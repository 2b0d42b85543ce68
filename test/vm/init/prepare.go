package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/test/vm/wire"
)

// mounts are made in this order. Optional ones may fail: not every kernel has them.
var mounts = []struct {
	kind, target string
	flags        uintptr
	optional     bool
}{
	{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV, false},
	{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NODEV, false},
	{"devtmpfs", "/dev", unix.MS_NOSUID, false},
	{"tmpfs", "/tmp", unix.MS_NOSUID | unix.MS_NODEV, false},
	{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, false},
	{"tmpfs", wire.OutDir, unix.MS_NOSUID | unix.MS_NODEV, false},
	{"cgroup2", "/sys/fs/cgroup", unix.MS_NOSUID | unix.MS_NODEV, true},
}

// prepare makes the machine one that programs can run on. It goes on after a failure, so that the console shows all.
func prepare() error {
	var failed error
	for _, m := range mounts {
		err := unix.Mount(m.kind, m.target, m.kind, m.flags, "")
		if err != nil && !m.optional {
			failed = errors.Join(failed, fmt.Errorf("mount %s on %s: %w", m.kind, m.target, err))
		}
	}
	if err := os.Chmod("/tmp", 0o1777); err != nil {
		failed = errors.Join(failed, err)
	}
	if err := unix.Sethostname([]byte("vmtest")); err != nil {
		failed = errors.Join(failed, fmt.Errorf("set the host name: %w", err))
	}
	return errors.Join(failed, nameLoopback(), raiseLoopback())
}

// nameLoopback has localhost found, as everywhere.
func nameLoopback() error {
	return os.WriteFile("/etc/hosts", []byte("127.0.0.1 localhost\n::1 localhost\n"), 0o644)
}

// raiseLoopback sets the interface lo up; the kernel then gives it 127.0.0.1 and ::1 by itself.
func raiseLoopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("set lo up: socket: %w", err)
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFFLAGS, request); err != nil {
		return fmt.Errorf("set lo up: SIOCGIFFLAGS: %w", err)
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("set lo up: SIOCSIFFLAGS: %w", err)
	}
	return nil
}
