package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/test/vm/wire"
)

// resultPort is the second serial port; the first is the console.
const resultPort = "/dev/ttyS1"

// maxOutput is how much of a command's output is kept, in bytes. Output is sent over an emulated serial line and lives
// in the virtual machine's memory until then.
const maxOutput = 8 << 20

// runJob carries out the plan. Each result is sent as soon as it is there: when a later command takes the machine
// down, the earlier ones are not lost.
func runJob() error {
	port, err := openPort()
	if err != nil {
		return err
	}
	defer port.Close()
	if err := carryOut(port); err != nil {
		err = errors.Join(err, wire.Write(port, wire.Frame{Kind: wire.ErrorFrame, Payload: []byte(err.Error())}))
		return errors.Join(err, drain(port))
	}
	return drain(port)
}

func carryOut(port io.Writer) error {
	boot, err := readBoot()
	if err != nil {
		return err
	}
	if err := wire.WriteJSON(port, wire.BootFrame, boot); err != nil {
		return err
	}
	text, err := os.ReadFile(wire.JobPath)
	if err != nil {
		return err
	}
	var job wire.Job
	if err := json.Unmarshal(text, &job); err != nil {
		return fmt.Errorf("read %s: %w", wire.JobPath, err)
	}
	for _, m := range job.Modules {
		if err := load(m); err != nil {
			return err
		}
	}
	if job.Address != "" {
		if err := addressEth0(job.Address); err != nil {
			return err
		}
	}
	for _, c := range job.Commands {
		if err := wire.WriteJSON(port, wire.CommandFrame, execute(c)); err != nil {
			return err
		}
	}
	if err := sendFiles(port); err != nil {
		return err
	}
	return wire.Write(port, wire.Frame{Kind: wire.EndFrame})
}

func load(m wire.Module) error {
	f, err := os.Open(wire.ModulePath(m.Name))
	if err != nil {
		return fmt.Errorf("load module %s: %w", m.Name, err)
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), m.Params, 0); err != nil {
		return fmt.Errorf("load module %s with parameters %q: %w (the console has the kernel's reason)", m.Name, m.Params, err)
	}
	return nil
}

func readBoot() (wire.Boot, error) {
	var boot wire.Boot
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return boot, err
	}
	if _, err := fmt.Sscan(string(uptime), &boot.Seconds); err != nil {
		return boot, fmt.Errorf("read /proc/uptime: %w", err)
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return boot, err
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return boot, err
	}
	boot.Release = strings.TrimSpace(string(release))
	boot.Cmdline = strings.TrimSpace(string(cmdline))
	return boot, nil
}

// execute runs one command in a process group of its own and leaves nothing of that group behind.
func execute(c wire.Command) wire.CommandResult {
	result := wire.CommandResult{Argv: c.Argv, ExitCode: -1}
	if len(c.Argv) == 0 {
		result.Error = "a command without a program"
		return result
	}
	fmt.Println("init: run", strings.Join(c.Argv, " "))
	ctx, cancel := commandContext(c)
	defer cancel()
	if err := await(ctx, c.Await); err != nil {
		result.Error = err.Error()
		return result
	}
	output := &tee{console: os.Stdout}
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A Go program that gets SIGQUIT says where each goroutine hangs.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT) }
	cmd.WaitDelay = 5 * time.Second
	start := time.Now()
	err := cmd.Run()
	result.Seconds = time.Since(start).Seconds()
	if cmd.Process != nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		result.ExitCode = exitCode(cmd.ProcessState)
	}
	result.Error = whyNotWhole(ctx, c, err)
	result.Output = output.String()
	return result
}

func commandContext(c wire.Command) (context.Context, context.CancelFunc) {
	if c.TimeoutSeconds <= 0 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), time.Duration(c.TimeoutSeconds*float64(time.Second)))
}

func exitCode(state *os.ProcessState) int {
	if state == nil {
		return -1
	}
	if status := state.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// whyNotWhole is empty when the command ran to an end of its own, whatever its exit status.
func whyNotWhole(ctx context.Context, c wire.Command, err error) string {
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fmt.Sprintf("killed after %v s, its timeout", c.TimeoutSeconds)
	case errors.Is(err, exec.ErrWaitDelay):
		return "it ended, but a process it started still held its output open and was killed"
	case err != nil && !errors.As(err, &exit):
		return fmt.Sprintf("cannot run %s: %v", c.Argv[0], err)
	}
	return ""
}

// tee keeps a command's output and shows it on the console as it comes, where it is found after a crash.
type tee struct {
	console io.Writer
	kept    bytes.Buffer
	cut     int
}

func (t *tee) Write(p []byte) (int, error) {
	t.console.Write(p)
	keep := min(len(p), maxOutput-t.kept.Len())
	t.kept.Write(p[:keep])
	t.cut += len(p) - keep
	return len(p), nil
}

func (t *tee) String() string {
	if t.cut == 0 {
		return t.kept.String()
	}
	return fmt.Sprintf("%s\n[%d more bytes of output were not kept]\n", t.kept.String(), t.cut)
}

// sendFiles sends every regular file below the out directory.
func sendFiles(port io.Writer) error {
	return filepath.WalkDir(wire.OutDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(wire.OutDir, path)
		if err != nil {
			return err
		}
		return wire.Write(port, wire.Frame{Kind: wire.FileFrame, Name: name, Payload: content})
	})
}

// openPort opens the serial line for results and sets it raw, so that the terminal layer adds nothing.
func openPort() (*os.File, error) {
	port, err := os.OpenFile(resultPort, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the serial port for results: %w", err)
	}
	settings, err := unix.IoctlGetTermios(int(port.Fd()), unix.TCGETS)
	if err != nil {
		port.Close()
		return nil, fmt.Errorf("read the settings of %s: %w: the kernel may not have a second serial port", resultPort, err)
	}
	settings.Iflag, settings.Oflag, settings.Lflag = 0, 0, 0
	settings.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	if err := unix.IoctlSetTermios(int(port.Fd()), unix.TCSETS, settings); err != nil {
		port.Close()
		return nil, fmt.Errorf("set %s raw: %w", resultPort, err)
	}
	return port, nil
}

// drain waits until the last byte has left the port: powering off would cut it.
func drain(port *os.File) error {
	if err := unix.IoctlSetInt(int(port.Fd()), unix.TCSBRK, 1); err != nil {
		return fmt.Errorf("drain %s: %w", resultPort, err)
	}
	return nil
}
