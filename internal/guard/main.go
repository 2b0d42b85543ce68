package guard

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// guardEnv tells the process that it is to be a guard.
const guardEnv = "CONNPROF_GUARD"

// The descriptors that a guard inherits.
const (
	controlFD = 3 // its end means that the program is to end
	reportFD  = 4 // words go out
	commandFD = 5 // the command
)

// Patience is how long a program has to end after SIGTERM.
const Patience = 5 * time.Second

// Main turns the process into a guard if its environment says that it was started as one, and then does not return.
func Main() {
	if _, ok := os.LookupEnv(guardEnv); ok {
		os.Exit(guard())
	}
}

func guard() int {
	runtime.LockOSThread() // the program is killed with the thread that has started it, and this one lasts
	for _, fd := range []int{controlFD, reportFD, commandFD} {
		unix.CloseOnExec(fd)
	}
	report := gob.NewEncoder(os.NewFile(reportFD, "report"))
	var c Command
	if err := gob.NewDecoder(os.NewFile(commandFD, "command")).Decode(&c); err != nil {
		_ = report.Encode(word{Error: err.Error()})
		return 1
	}
	// Whoever wants the program to end closes the pipe. The program does not inherit that (signal.Ignore).
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	pid, files, err := c.start()
	if err != nil {
		_ = report.Encode(failure(err))
		return 1
	}
	_ = report.Encode(word{PID: pid, Files: files})
	g := &guarded{first: pid}
	go g.endWith(os.NewFile(controlFD, "control"))
	g.reap(func(status unix.WaitStatus) { _ = report.Encode(word{Status: statusOf(status)}) })
	_ = report.Encode(word{Over: true})
	return 0
}

// notStarted is an error of exec(2).
type notStarted struct{ error }

func failure(err error) word {
	var e syscall.Errno
	var start notStarted
	switch {
	case !errors.As(err, &start):
	case errors.Is(start.error, exec.ErrNotFound):
		return word{Errno: int(syscall.ENOENT)}
	case errors.As(start.error, &e):
		return word{Errno: int(e)}
	}
	return word{Error: err.Error()}
}

// start starts the program, with that limit on open files.
func (c *Command) start() (pid int, files uint64, err error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, 0, fmt.Errorf("become the parent of what the program leaves: %w", err)
	}
	// The kernel, when out of memory, is to end the program before anything else on the host.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) // best effort: no privilege is needed to raise it
	_ = os.WriteFile("/proc/self/comm", []byte("connprof-guard"), 0)
	if files, err = raiseFiles(c.Files); err != nil {
		return 0, 0, err
	}
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdout, os.Stderr, c.Environ
	if cmd.Env == nil {
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, guardEnv+"=") })
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.Credential, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, 0, notStarted{err}
	}
	return cmd.Process.Pid, files, nil
}

// raiseFiles raises the limit on open files, soft and hard, which the program inherits, as far as it may: beyond the hard one it
// takes CAP_SYS_RESOURCE. It gives the soft limit.
func raiseFiles(files uint64) (uint64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read RLIMIT_NOFILE: %w", err)
	}
	if files == 0 {
		return limit.Cur, nil
	}
	want := syscall.Rlimit{Cur: max(files, limit.Cur), Max: max(files, limit.Max)}
	err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want)
	if errors.Is(err, syscall.EPERM) {
		want = syscall.Rlimit{Cur: min(want.Cur, limit.Max), Max: limit.Max}
		err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want)
	}
	if err != nil {
		return 0, fmt.Errorf("raise RLIMIT_NOFILE to %d: %w", want.Cur, err)
	}
	return want.Cur, nil
}

// guarded is the program, as its guard sees it.
type guarded struct {
	first int // its first process
	ended atomic.Bool
}

// reap waits until nothing of the program is left.
func (g *guarded) reap(first func(unix.WaitStatus)) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return // there are no more
		case pid == g.first:
			g.ended.Store(true)
			first(status)
		}
	}
}

// endWith ends the program when the pipe ends. Its first process is told first: a master ends its workers in its own way.
func (g *guarded) endWith(control *os.File) {
	_, _ = io.Copy(io.Discard, control)
	told := map[int]bool{}
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		for _, pid := range g.processes() {
			switch {
			case time.Since(begun) > Patience:
				_ = unix.Kill(pid, unix.SIGKILL)
			case !told[pid] && (pid == g.first || g.ended.Load()):
				told[pid] = true
				_ = unix.Kill(pid, unix.SIGTERM)
				_ = unix.Kill(pid, unix.SIGCONT)
			}
		}
	}
}

// processes are those that run. Where /proc does not show them, the first one is known.
func (g *guarded) processes() []int {
	if list := descendants(os.Getpid()); len(list) > 0 || g.ended.Load() {
		return list
	}
	return []int{g.first}
}

// descendants are the processes that one has started, and those that these have, as far as /proc shows them, oldest first.
func descendants(of int) []int {
	all, err := procfs.AllProcs()
	if err != nil {
		return nil
	}
	children := map[int][]int{}
	for _, p := range all {
		if stat, err := p.Stat(); err == nil && stat.State != "Z" {
			children[stat.PPID] = append(children[stat.PPID], p.PID)
		}
	}
	var family []int
	for todo := []int{of}; len(todo) > 0; todo = todo[1:] {
		family = append(family, children[todo[0]]...)
		todo = append(todo, children[todo[0]]...)
	}
	slices.Sort(family)
	return family
}

// statusOf is how a process ended, in words.
func statusOf(status unix.WaitStatus) string {
	if status.Signaled() {
		return "signal: " + status.Signal().String()
	}
	return "exit status " + strconv.Itoa(status.ExitStatus())
}
