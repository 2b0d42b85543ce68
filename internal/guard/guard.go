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
	"encoding/json"
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
	Credential *syscall.Credential `json:",omitempty"` // whose it is to be; nil: this process's own
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

// word is what the guard tells, a line of JSON each.
type word struct {
	PID    int    `json:",omitempty"` // it has started
	Files  uint64 `json:",omitempty"` // with this limit on open files
	Errno  int    `json:",omitempty"` // it has not
	Error  string `json:",omitempty"`
	Status string `json:",omitempty"` // how its first process has ended
	Over   bool   `json:",omitempty"` // nothing of it runs any more
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
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
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
	g.cmd.Env = append(os.Environ(), guardEnv+"="+string(text))
	g.cmd.ExtraFiles = []*os.File{controlIn, report}
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

// listen waits for the first word, and follows what comes after it.
func (g *Guard) listen(name string, words *os.File) error {
	told := json.NewDecoder(bufio.NewReader(words))
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
			if told.Decode(&w) != nil || w.Over {
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

// End ends the program, and returns when nothing of it is left: SIGTERM, and after Patience SIGKILL.
func (g *Guard) End() {
	g.endOnce.Do(func() { g.control.Close() })
	<-g.gone
}
