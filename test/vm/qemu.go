package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/connprof/connprof/test/vm/wire"
)

const qemuBinary = "qemu-system-x86_64"

func findQemu() (string, error) {
	path, err := exec.LookPath(qemuBinary)
	if err != nil {
		return "", fmt.Errorf("%s is not installed, virtual machines need it: apt-get install qemu-system-x86", qemuBinary)
	}
	return path, nil
}

// machine is one virtual machine's program and files on the host.
type machine struct {
	qemu      string
	initramfs string
	console   string // written: the first serial port
	results   string // written: the second serial port; it is there before
}

func (m machine) args(config Config) []string {
	cmdline := strings.TrimSpace("console=ttyS0 panic=-1 quiet " + config.Append)
	return append(config.Cable.args(), []string{
		// Emulation only: a machine with /dev/kvm and one without must give the same results.
		// One host thread for all emulated processors: with one each, qemu may run a half-patched instruction while
		// the kernel turns a tracepoint on, and the guest panics (kmem_cache_alloc+0x148, invalid opcode).
		"-accel", "tcg,thread=single",
		"-nographic", "-nodefaults", "-no-reboot",
		"-m", strconv.Itoa(config.MemoryMB),
		"-smp", strconv.Itoa(config.CPUs),
		"-kernel", config.Vmlinuz,
		"-initrd", m.initramfs,
		"-append", cmdline,
		"-serial", "stdio",
		"-serial", "file:" + m.results,
	}...)
}

// args are the network card and its cable: a stream, which loses nothing.
func (c *Cable) args() []string {
	if c == nil {
		return nil
	}
	end, mac := "off", "52:54:00:00:00:01"
	if c.Listen {
		end, mac = "on", "52:54:00:00:00:02"
	}
	return []string{
		"-netdev", fmt.Sprintf("stream,id=cable,server=%s,addr.type=unix,addr.path=%s", end, c.Socket),
		"-device", "virtio-net-pci,netdev=cable,romfile=,mac=" + mac,
	}
}

// modules drive the network card. Its bus is part of the newer kernels.
func (c *Cable) modules(folder string) []wire.Module {
	if c == nil {
		return nil
	}
	list := []wire.Module{{Name: "virtio_net"}}
	if _, err := os.Stat(filepath.Join(folder, "virtio_pci.ko")); err == nil {
		list = append(list, wire.Module{Name: "virtio_pci"})
	}
	return list
}

// run starts qemu and waits until the virtual machine has powered itself off, the timeout has passed, or ctx has ended.
func (m machine) run(ctx context.Context, config Config) error {
	console, err := os.Create(m.console)
	if err != nil {
		return err
	}
	defer console.Close()
	limited, cancel := context.WithTimeout(ctx, config.Timeout)
	defer cancel()
	err = waitOnThread(func() error {
		cmd := exec.CommandContext(limited, m.qemu, m.args(config)...)
		cmd.Stdout, cmd.Stderr = console, console
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		cmd.WaitDelay = 5 * time.Second
		return cmd.Run()
	})
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("stopped: %w", ctx.Err())
	case errors.Is(limited.Err(), context.DeadlineExceeded):
		return fmt.Errorf("still running after %v: it hangs, or the timeout is too short", config.Timeout)
	case err != nil:
		return fmt.Errorf("%s: %w", qemuBinary, err)
	}
	return nil
}

// waitOnThread runs f on a thread that lives as long as f: the kernel sends a child its parent-death signal when the
// thread that started it ends, not the process.
func waitOnThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- f()
	}()
	return <-done
}
