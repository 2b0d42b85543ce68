package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/lastwords"
)

// Engine is a pair of load processes.
type Engine struct {
	abort    context.Context // its end kills the processes
	shared   *shared
	memory   *os.File
	workers  []*process // server first
	ended    chan struct{}
	endOnce  sync.Once
	final    Progress    // once shared is unmapped
	end      kernel.Role // Config.End
	accepts  bool        // the server accepts what the client has connected
	connects bool        // there are connecting ends
	served   bool        // Config.Served
	threads  bool        // the server serves each connection by a thread of its own
	payload  int         // Config.Payload
}

// process is one worker.
type process struct {
	role    kernel.Role
	cmd     *exec.Cmd
	control *os.File
	stderr  bytes.Buffer
	done    chan struct{}
	err     error // valid once done is closed
	leaving atomic.Bool
}

// ends are the ends that are made here, the server's first.
func (c Config) ends() []kernel.Role {
	if c.Served {
		return []kernel.Role{kernel.RoleClient}
	}
	if c.End != kernel.RoleBoth {
		return []kernel.Role{c.End}
	}
	return []kernel.Role{kernel.RoleServer, kernel.RoleClient}
}

// Start is StartContext for an engine that nothing aborts.
func Start(c Config, start func(*exec.Cmd) error) (*Engine, error) {
	return StartContext(context.Background(), c, start)
}

// StartContext starts both processes, or that of Config.End, by the given function (which may put them into another network
// namespace) and returns once the server listens and the client is ready to begin. The end of the context kills them, whatever
// the engine is waiting for.
func StartContext(abort context.Context, c Config, start func(*exec.Cmd) error) (*Engine, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	memory, file, err := newShared()
	if err != nil {
		return nil, err
	}
	scenario, _ := FindScenario(c.Scenario) // checked above
	memory.limit.Store(int64(c.Connections))
	e := &Engine{abort: abort, shared: memory, memory: file, ended: make(chan struct{}), end: c.End, served: c.Served, accepts: scenario.Accepted(),
		connects: !scenario.Listens, threads: c.ThreadPerConnection, payload: c.Payload}
	for _, role := range c.ends() {
		p, err := e.startWorker(workerConfig{Role: role, Config: c}, start)
		if err != nil {
			e.End()
			return nil, fmt.Errorf("start the load %s: %w", role, err)
		}
		e.workers = append(e.workers, p)
	}
	return e, nil
}

func (e *Engine) startWorker(wc workerConfig, start func(*exec.Cmd) error) (*process, error) {
	config, err := wc.file()
	if err != nil {
		return nil, err
	}
	defer config.Close()
	controlIn, control, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer controlIn.Close()
	report, reportOut, err := os.Pipe()
	if err != nil {
		control.Close()
		return nil, err
	}
	defer report.Close()
	defer reportOut.Close()
	p := &process{role: wc.Role, control: control, done: make(chan struct{})}
	p.cmd = exec.Command("/proc/self/exe")
	p.cmd.Args = []string{"connprof-load-" + wc.Role.String()}
	// The Go runtime is to leave the kernel's memory alone while connections are counted: its signals to threads that
	// work long, and its looks at the CPU limit's file every second, allocate there too.
	// So is the C library where it is linked in: for a new thread it reads the number of CPUs from a file.
	p.cmd.Env = append(os.Environ(), workerEnv+"=1", "GODEBUG=asyncpreemptoff=1,updatemaxprocs=0",
		"MALLOC_ARENA_MAX=1")
	p.cmd.ExtraFiles = []*os.File{controlIn, reportOut, e.memory, config}
	p.cmd.Stderr = &p.stderr
	// A process group of its own keeps the terminal's Ctrl-C away: the parent decides what ends when.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := start(p.cmd); err != nil {
		control.Close()
		return nil, err
	}
	go p.wait(e)
	context.AfterFunc(e.abort, func() { _ = p.cmd.Process.Kill() }) // one that has ended is not killed (os.ErrProcessDone)
	reportOut.Close()
	line, _ := bufio.NewReader(report).ReadString('\n')
	if line != readyMark {
		p.kill()
		return nil, errors.New(p.complaint(line))
	}
	return p, nil
}

// file is the configuration in a file without a name.
func (wc workerConfig) file() (*os.File, error) {
	fd, err := unix.MemfdCreate("connprof-config", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "connprof-config")
	if err = json.NewEncoder(f).Encode(wc); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("write the load's configuration down: %w", err)
	}
	return f, nil
}

// complaint is why a worker did not get ready: what it reported, else how it ended.
func (p *process) complaint(line string) string {
	if line = strings.TrimSpace(line); line != "" {
		return line
	}
	return p.describe()
}

func (p *process) wait(e *Engine) {
	p.err = p.cmd.Wait()
	close(p.done)
	if !p.leaving.Load() {
		e.endOnce.Do(func() { close(e.ended) })
	}
}

func (p *process) kill() {
	p.control.Close()
	_ = p.cmd.Process.Kill()
	<-p.done
}

// describe says how the process ended, with the last line that it wrote to stderr.
func (p *process) describe() string {
	text := fmt.Sprintf("the load %s ended", p.role)
	if p.err != nil {
		text += ": " + p.err.Error()
	}
	lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	if lines[0] != "" {
		text += ": " + strings.TrimPrefix(lines[0], lastwords.Prefix)
	}
	return text
}

// worker is the process of an end, nil for one that is on another machine.
func (e *Engine) worker(role kernel.Role) *process {
	for _, p := range e.workers {
		if p.role == role {
			return p
		}
	}
	return nil
}

// PIDs are the process IDs of the connecting and the accepting end, 0 for one that is on another machine.
func (e *Engine) PIDs() (client, server int) {
	return e.worker(kernel.RoleClient).pid(), e.worker(kernel.RoleServer).pid()
}

func (p *process) pid() int {
	if p == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Begin opens the connections.
func (e *Engine) Begin() error {
	for _, p := range e.workers {
		if _, err := p.control.Write([]byte{commandBegin}); err != nil {
			return fmt.Errorf("tell the load %s to begin: %w", p.role, err)
		}
	}
	return nil
}

// Limit lets the engine make that many attempts in all and then wait for a higher limit. Without one it makes as many as
// it was configured for.
func (e *Engine) Limit(attempts int) { e.shared.limit.Store(int64(attempts)) }

// StopRamp opens no more connections and leaves open what is.
func (e *Engine) StopRamp() { e.shared.stop.Store(1) }

// Progress reads the counters.
func (e *Engine) Progress() Progress {
	if e.shared == nil {
		return e.final
	}
	p := e.shared.progress()
	if !e.accepts {
		p.Accepted = p.Established // none is waiting for it
	}
	return p
}

// Failures lists why connections failed. It is not to be called after End.
func (e *Engine) Failures() []Failure { return e.shared.listFailures() }

// tellTimeout is how long a process may take to count its threads' switches.
const tellTimeout = 5 * time.Second

// ContextSwitches asks both processes how often their threads were switched since Begin. One that has ended tells
// nothing, and counts as none.
func (e *Engine) ContextSwitches() (client, server Switches) {
	return e.switches(e.worker(kernel.RoleClient)), e.switches(e.worker(kernel.RoleServer))
}

func (e *Engine) switches(p *process) Switches {
	if p == nil {
		return Switches{}
	}
	slot := e.shared.switchesOf(p.role)
	told := slot.told.Load()
	if _, err := p.control.Write([]byte{commandTell}); err != nil {
		return Switches{}
	}
	for end := time.Now().Add(tellTimeout); slot.told.Load() == told; time.Sleep(time.Millisecond) {
		select {
		case <-p.done:
			return Switches{}
		default:
		}
		if time.Now().After(end) {
			return Switches{}
		}
	}
	return Switches{Voluntary: slot.voluntary.Load(), Involuntary: slot.involuntary.Load()}
}

// Ended is closed when a process has ended; Err then says how.
func (e *Engine) Ended() <-chan struct{} { return e.ended }

// Err says how the processes ended that have, nil when none has.
func (e *Engine) Err() error {
	var errs []error
	for _, p := range e.workers {
		select {
		case <-p.done:
			if !p.leaving.Load() {
				errs = append(errs, errors.New(p.describe()))
			}
		default:
		}
	}
	return errors.Join(errs...)
}
