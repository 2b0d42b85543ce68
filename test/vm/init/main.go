// Command init is the first process of the test's virtual machines: the only program in an initramfs beside those
// under test.
//
// As process 1 it mounts what programs expect, starts itself a second time as the runner, and buries orphans until the
// runner is done; then it powers the machine off. The runner executes the job's commands one after the other and
// sends what came of them over the second serial port (package wire). Two processes, because process 1 must wait for
// any child while the runner must wait for its own.
//
// It grants nothing that a plain system would not: no limit is raised, and tracefs is not mounted.
package main

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const runnerName = "runner"

func main() {
	if os.Args[0] == runnerName {
		if err := runJob(); err != nil {
			fmt.Println("init:", err)
			os.Exit(1)
		}
		return
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: this is process 1 of a test's virtual machine, nothing to run by hand")
		os.Exit(2)
	}
	if err := prepare(); err != nil {
		fmt.Println("init:", err)
	}
	if err := superviseRunner(); err != nil {
		fmt.Println("init:", err)
	}
	unix.Sync()
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Println("init: power off:", err)
}

// superviseRunner reaps every process that ends until the runner has.
func superviseRunner() error {
	runner, err := syscall.ForkExec("/proc/self/exe", []string{runnerName}, &syscall.ProcAttr{
		Env:   []string{"PATH=/bin:/sbin:/", "HOME=/root", "TMPDIR=/tmp", "TERM=dumb"},
		Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		return fmt.Errorf("start the runner: %w", err)
	}
	for {
		pid, err := syscall.Wait4(-1, nil, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for the runner: %w", err)
		}
		if pid == runner {
			return nil
		}
	}
}
