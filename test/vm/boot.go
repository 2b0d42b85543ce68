// Package vm runs programs under stock kernels, each in a virtual machine of its own.
//
// The machine on which connprof is developed has one kernel; users have others. Boot starts qemu without hardware
// support and without root: a kernel image, and an initramfs with one static init process, the programs under test and
// the commands to run. It gives back what each command printed, its exit status, and the files left in /out.
//
// Data goes in through the initramfs and comes back over a second serial port (package wire), which no kernel message
// can get into. The virtual machine has no disk, no network but what a test makes or a cable to another one, and no
// tracefs: connprof must not need it. The package may import wire and the standard library, nothing of connprof.
package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/connprof/connprof/test/vm/wire"
)

// Config says what to boot and what to run there.
type Config struct {
	Vmlinuz string // the kernel image, a bzImage
	// Files maps absolute paths in the virtual machine to files of the host. Executables stay executable.
	Files map[string]string
	// Modules are loaded before the first command, with those they depend on. ModuleDir has them, fetched with the kernel.
	Modules   []wire.Module
	ModuleDir string
	Commands  []wire.Command // run one after the other, also after one that failed
	Append    string         // added to the kernel's command line, e.g. slab_nomerge
	MemoryMB  int            // 2,048 when 0
	CPUs      int            // when 0: 2, or 1 for kernels that lose kprobe hits with 2
	Cable     *Cable         // to another virtual machine; none when nil
	Timeout   time.Duration  // for the whole life of the virtual machine; 5 minutes when 0
	Said      func(string)   // gets a line for each step that is over, while the machine runs; nil for nobody
}

// Cable connects the interfaces eth0 of two virtual machines.
type Cable struct {
	Socket  string // on the host, made by the machine that listens and used by the other; short, as a Unix socket's path is
	Listen  bool   // exactly one of the two does, and is started first
	Address string // of this end, as ADDRESS/LENGTH
}

// Result is what came back.
type Result struct {
	Boot     wire.Boot
	Commands []wire.CommandResult // in the order of Config.Commands
	Files    map[string][]byte    // by path below /out
	Console  string               // what the kernel and the commands wrote to the first serial port
	Seconds  float64              // from the start of qemu to its end
}

// Boot starts the virtual machine and waits for its end. With an error the result is still given, as far as it got, if
// the virtual machine was started at all; otherwise it is nil.
func Boot(ctx context.Context, config Config) (*Result, error) {
	config, err := withDefaults(config)
	if err != nil {
		return nil, err
	}
	qemu, err := findQemu()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "connprof-vm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	init, err := buildInit(ctx, dir)
	if err != nil {
		return nil, err
	}
	modules, err := orderModules(config.ModuleDir, append(config.Cable.modules(config.ModuleDir), config.Modules...))
	if err != nil {
		return nil, err
	}
	files := maps.Clone(config.Files)
	for _, m := range modules {
		files[wire.ModulePath(m.Name)] = filepath.Join(config.ModuleDir, m.Name+".ko")
	}
	initramfs := filepath.Join(dir, "initramfs.cpio")
	job := wire.Job{Modules: modules, Commands: config.Commands}
	if config.Cable != nil {
		job.Address = config.Cable.Address
	}
	if err := writeInitramfs(initramfs, init, files, job); err != nil {
		return nil, fmt.Errorf("write the initramfs: %w", err)
	}
	return runMachine(ctx, config, machine{
		qemu:      qemu,
		initramfs: initramfs,
		console:   filepath.Join(dir, "console"),
		results:   filepath.Join(dir, "results"),
	})
}

func withDefaults(config Config) (Config, error) {
	release, err := Release(config.Vmlinuz)
	if err != nil {
		return config, err
	}
	if config.MemoryMB == 0 {
		config.MemoryMB = 2048
	}
	if config.CPUs == 0 {
		config.CPUs = defaultCPUs(release)
	}
	if config.Timeout == 0 {
		config.Timeout = 5 * time.Minute
	}
	return config, nil
}

func runMachine(ctx context.Context, config Config, m machine) (*Result, error) {
	start := time.Now()
	result, over, streamed := &Result{}, make(chan struct{}), make(chan error, 1)
	stream, err := os.Create(m.results)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	go func() { streamed <- result.readStream(&growing{stream, over}, config.Said) }()
	runErr := m.run(ctx, config)
	close(over)
	streamErr := <-streamed
	result.Seconds = time.Since(start).Seconds()
	console, err := os.ReadFile(m.console)
	if err != nil {
		return result, errors.Join(runErr, err)
	}
	result.Console = string(console)
	return result, verdict(runErr, streamErr, result, len(config.Commands))
}

// readStream fills in what the init process sends, as it comes.
func (r *Result) readStream(stream io.Reader, said func(string)) error {
	r.Files = map[string][]byte{}
	var errs error
	err := wire.Each(stream, func(f wire.Frame) {
		errs = errors.Join(errs, r.add(f))
		if line := r.stepOf(f); line != "" && said != nil {
			said(line)
		}
	})
	return errors.Join(err, errs)
}

func (r *Result) add(f wire.Frame) error {
	switch f.Kind {
	case wire.BootFrame:
		return json.Unmarshal(f.Payload, &r.Boot)
	case wire.CommandFrame:
		var c wire.CommandResult
		if err := json.Unmarshal(f.Payload, &c); err != nil {
			return err
		}
		r.Commands = append(r.Commands, c)
	case wire.FileFrame:
		r.Files[f.Name] = f.Payload
	case wire.ErrorFrame:
		return fmt.Errorf("the virtual machine's init: %s", f.Payload)
	case wire.EndFrame:
	default:
		return fmt.Errorf("a frame of unknown kind %q in the result stream", f.Kind)
	}
	return nil
}

// verdict is nil only when everything that was asked for came back. Otherwise it names the first cause: a panic stops
// the stream, and a stream that stopped makes the machine look hung.
func verdict(runErr, streamErr error, r *Result, commands int) error {
	var cause error
	switch panicked := kernelPanic(r.Console); {
	case panicked != "":
		cause = fmt.Errorf("the kernel panicked: %s", panicked)
	case runErr != nil:
		cause = runErr
	case streamErr != nil:
		cause = streamErr
	case len(r.Commands) != commands:
		cause = fmt.Errorf("%d commands reported back of %d", len(r.Commands), commands)
	default:
		return nil
	}
	return fmt.Errorf("virtual machine with kernel %s: %w, after %d of %d commands and %.1f s; the console's last lines:\n%s",
		orUnknown(r.Boot.Release), cause, len(r.Commands), commands, r.Seconds, lastLines(r.Console, 25))
}

// panickedBeforeInit tells whether the kernel never came to run a program. QEMU 7.2 has emulated a cmpxchg16b of 6.12's SLUB wrongly
// once, 0.35 s after the start: EFLAGS had the lower half of RAX.
func (r *Result) panickedBeforeInit() bool {
	return r.Boot.Release == "" && kernelPanic(r.Console) != ""
}

func kernelPanic(console string) string {
	const mark = "Kernel panic - not syncing"
	i := strings.Index(console, mark)
	if i < 0 {
		return ""
	}
	line, _, _ := strings.Cut(console[i:], "\n")
	return strings.TrimSpace(line)
}

func orUnknown(release string) string {
	if release == "" {
		return "(unknown: it never reached init)"
	}
	return release
}

// lastLines gives the end of the console, indented, without the firmware's screen control.
func lastLines(console string, n int) string {
	lines := strings.Split(strings.TrimSpace(printable(console)), "\n")
	lines = lines[max(0, len(lines)-n):]
	return "\t" + strings.Join(lines, "\n\t")
}

// screenControl is what the firmware writes to clear the screen and set its colours.
var screenControl = regexp.MustCompile(`\x1b(\[[0-9;?]*[A-Za-z]|c)`)

func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, screenControl.ReplaceAllString(text, ""))
}
