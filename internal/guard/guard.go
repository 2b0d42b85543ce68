// Package guard runs a program of somebody else's, and ends it with all that it has started, however the process that wanted it
// ends. The program is the child of a process of its own, the guard, to which the kernel gives what the program leaves behind
// (PR_SET_CHILD_SUBREAPER), daemons among it. The guard ends it all once its control pipe ends, and the kernel closes that with
// the process that wanted the program.
//
// The program that uses it starts itself again for the guard, so its main function (and a test's TestMain) calls Main first. It
// imports nothing of the project but what reads /proc.
package guard

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is the program.
type Command struct {
	Args       []string
	Environ    []string            // nil: this process's own
	Credential *syscall.Credential // whose it is to be; nil: this process's own
	// Files is the limit on open files that the program is to have, as far as this process may raise it; 0 leaves it as it is.
	Files uint64
}

// StartError says that a program could not be started.
type StartError struct {
	Name string
	Err  error
}

func (e *StartError) Error() string {
	why := e.Err.Error()
	switch {
	case errors.Is(e.Err, exec.ErrNotFound), errors.Is(e.Err, os.ErrNotExist):
		why = "there is no such program; give its path"
	case errors.Is(e.Err, os.ErrPermission):
		why = "the user may not execute it"
	case errors.Is(e.Err, unix.ENOEXEC):
		why = "it is no program that this kernel can run; does a script lack its #! line?"
	}
	return fmt.Sprintf("start %s: %s", e.Name, why)
}

func (e *StartError) Unwrap() error { return e.Err }

// NewStartError takes the program's name out of an error of package exec, as a *StartError has it.
func NewStartError(name string, err error) *StartError {
	var named *exec.Error
	var path *os.PathError
	switch {
	case errors.As(err, &named):
		err = named.Err
	case errors.As(err, &path):
		err = path.Err
	}
	return &StartError{name, err}
}

// Find tells whether there is such a program, before anything is made ready for it. The error is a *StartError.
func Find(name string) error {
	if _, err := exec.LookPath(name); err != nil {
		return NewStartError(name, err)
	}
	return nil
}

// word is what the guard tells, one after the other.
type word struct {
	PID    int    // it has started
	Files  uint64 // with this limit on open files
	Errno  int    // it has not
	Error  string
	Status string // how its first process has ended
	Over   bool   // nothing of it runs any more
}

// Guard is a program that runs.
type Guard struct {
	cmd     *exec.Cmd
	control *os.File
	pid     int
	files   uint64
	status  atomic.Pointer[string]
	over    chan struct{} // closed once nothing of the program runs
	gone    chan struct{} // closed once the guard has ended
	endOnce sync.Once
}

// Start starts a program by a function that may put it elsewhere, such as into a network namespace, and that must not have it
// killed with this process: the guard sees to that. What it writes goes to output. The error is a *StartError where the program
// is at fault.
func Start(c Command, output io.Writer, start func(*exec.Cmd) error) (*Guard, error) {
	command, err := handOver(c)
	if err != nil {
		return nil, err
	}
	defer command.Close()
	// What a killed guard leaves is this process's, to be ended.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	controlIn, control, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer controlIn.Close()
	words, report, err := os.Pipe()
	if err != nil {
		control.Close()
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer report.Close()
	g := &Guard{control: control, over: make(chan struct{}), gone: make(chan struct{})}
	g.cmd = exec.Command("/proc/self/exe")
	g.cmd.Args = []string{"connprof-guard"}
	g.cmd.Env = append(os.Environ(), guardEnv+"=1")
	g.cmd.ExtraFiles = []*os.File{controlIn, report, command}
	g.cmd.Stdout, g.cmd.Stderr = output, output
	g.cmd.WaitDelay = time.Second // nobody else is to have its output open once it has ended
	// A session of its own keeps the terminal, with its Ctrl-C, away from the program.
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := start(g.cmd); err != nil {
		control.Close()
		words.Close()
		return nil, fmt.Errorf("start a guard for %s: %w", c.Args[0], err)
	}
	go func() {
		_ = g.cmd.Wait() // its words have told what there is
		close(g.gone)
	}()
	return g, g.listen(c.Args[0], words)
}

// handOver puts a command into a file without a name: an environment takes no more than 128 KiB of it (MAX_ARG_STRLEN).
func handOver(c Command) (*os.File, error) {
	fd, err := unix.MemfdCreate("connprof-command", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "connprof-command")
	if err = gob.NewEncoder(f).Encode(c); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("write the command down: %w", err)
	}
	return f, nil
}

// listen waits for the first word, and follows what comes after it.
func (g *Guard) listen(name string, words *os.File) error {
	told := gob.NewDecoder(bufio.NewReader(words))
	var first word
	if err := told.Decode(&first); err != nil || first.PID == 0 {
		words.Close()
		g.End()
		switch {
		case first.Errno != 0:
			return &StartError{name, syscall.Errno(first.Errno)}
		case first.Error != "":
			return &StartError{name, errors.New(first.Error)}
		}
		return fmt.Errorf("start %s: its guard has ended: %w", name, err)
	}
	g.pid, g.files = first.PID, first.Files
	go func() {
		defer words.Close()
		defer close(g.over)
		for {
			var w word
			switch err := told.Decode(&w); {
			case err != nil:
				g.abandoned()
				return
			case w.Over:
				return
			}
			g.status.CompareAndSwap(nil, &w.Status)
		}
	}()
	return nil
}

// Files is how many files a process of the program may have open.
func (g *Guard) Files() uint64 { return g.files }

// PID is the program's first process.
func (g *Guard) PID() int { return g.pid }

// Keeper is the guard's own process, which waits for what the program leaves.
func (g *Guard) Keeper() int { return g.cmd.Process.Pid }

// Processes are those of the program that run, as far as /proc shows them, oldest first.
func (g *Guard) Processes() []int { return descendants(g.cmd.Process.Pid) }

// Over is closed once nothing of the program runs any more.
func (g *Guard) Over() <-chan struct{} { return g.over }

// Status is how the program's first process has ended, empty while it runs. Others of it may run still.
func (g *Guard) Status() string {
	if s := g.status.Load(); s != nil {
		return *s
	}
	return ""
}

// abandoned ends what a guard has left that was killed: the kernel has made it this process's own.
func (g *Guard) abandoned() {
	how := "its guard was killed"
	g.status.CompareAndSwap(nil, &how)
	<-g.gone
	for end := time.Now().Add(Patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		left := strangers()
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // its other children are waited for by who has started them
		}
	}
}

// strangers are this process's descendants that are other programs. It starts none itself: its own are what it is.
func strangers() (list []int) {
	own, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	for _, pid := range descendants(os.Getpid()) {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && exe != own {
			list = append(list, pid)
		}
	}
	return list
}

// stubborn is how long a guard may take longer than its program.
const stubborn = 2 * time.Second

// End ends the program, and returns when nothing of it is left: SIGTERM, and after Patience SIGKILL. A guard that does not see to
// that, as one that its program has stopped, is killed, and what it leaves is ended in its place.
func (g *Guard) End() {
	g.endOnce.Do(func() { g.control.Close() })
	_ = g.cmd.Process.Signal(syscall.SIGCONT)
	select {
	case <-g.gone:
	case <-time.After(Patience + stubborn):
		_ = g.cmd.Process.Kill()
		<-g.gone
	}
	if g.pid != 0 {
		<-g.over
	}
}
