package guard

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wantsEnv has the test program start a program under guard, tell its processes, and wait to be killed.
const wantsEnv = "CONNPROF_TEST_WANTS"

func TestMain(m *testing.M) {
	Main()
	if script := os.Getenv(wantsEnv); script != "" {
		g, err := Start(Command{Args: []string{"sh", "-c", script}}, os.Stdout, (*exec.Cmd).Start)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("runs", g.cmd.Process.Pid, g.PID())
		<-g.Over()
		os.Exit(3) // the test kills it before
	}
	os.Exit(m.Run())
}

// text is what a program has written.
type text struct {
	mu sync.Mutex
	b  strings.Builder
}

func (w *text) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *text) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

const limit = time.Minute

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in %v: %s", limit, what)
		}
	}
}

func begin(t *testing.T, c Command) (*Guard, *text) {
	t.Helper()
	said := &text{}
	g, err := Start(c, said, (*exec.Cmd).Start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.End)
	return g, said
}

func script(text string) Command { return Command{Args: []string{"sh", "-c", text}} }

// runs tells whether a process is there and no zombie.
func runs(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.HasPrefix(string(b[strings.LastIndexByte(string(b), ')')+1:]), " Z")
}

func ended(t *testing.T, g *Guard) {
	t.Helper()
	select {
	case <-g.Over():
	case <-time.After(limit):
		t.Fatalf("it runs still: %v", g.Processes())
	}
}

func TestAProgramThatEndsIsOver(t *testing.T) {
	for command, status := range map[string]string{"exit 0": "exit status 0", "echo done; exit 3": "exit status 3", "kill -9 $$": "signal: killed"} {
		g, said := begin(t, script(command))
		ended(t, g)
		if g.Status() != status || g.PID() == 0 {
			t.Errorf("%s: %q, process %d, want %s", command, g.Status(), g.PID(), status)
		}
		if <-g.gone; strings.Contains(command, "echo") && said.String() != "done\n" {
			t.Errorf("%s: it wrote %q", command, said)
		}
	}
}

func TestADaemonIsTheProgramStill(t *testing.T) {
	g, said := begin(t, script("(sleep 1000 & echo $!) & wait; exit 0"))
	until(t, "its first process has ended", func() bool { return g.Status() != "" })
	until(t, "the daemon has its number written", func() bool { return strings.HasSuffix(said.String(), "\n") })
	daemon, err := strconv.Atoi(strings.TrimSpace(said.String()))
	if err != nil || g.Status() != "exit status 0" {
		t.Fatalf("%v, status %q", err, g.Status())
	}
	if got := g.Processes(); len(got) != 1 || got[0] != daemon || !runs(daemon) {
		t.Errorf("processes %v, want the daemon %d", got, daemon)
	}
	select {
	case <-g.Over():
		t.Error("it is over, and its daemon runs")
	default:
	}
	g.End()
	ended(t, g)
	if runs(daemon) {
		t.Errorf("daemon %d runs on", daemon)
	}
}

// A master is told alone, and ends its workers in its own way. What ignores that is killed.
func TestAnEndIsForAllOfIt(t *testing.T) {
	t.Run("obeys", func(t *testing.T) {
		g, said := begin(t, script(`trap 'echo told; exit 0' TERM; sh -c "trap 'echo worker told' TERM; while :; do sleep 0.01; done" & echo up; while :; do sleep 0.01; done`))
		until(t, "it is up", func() bool { return strings.Contains(said.String(), "up") })
		until(t, "both run", func() bool { return len(g.Processes()) >= 2 })
		all := g.Processes()
		g.End()
		if !strings.HasPrefix(strings.TrimPrefix(said.String(), "up\n"), "told\n") || g.Status() != "exit status 0" {
			t.Errorf("it wrote %q, status %q", said, g.Status())
		}
		for _, pid := range all {
			if runs(pid) {
				t.Errorf("process %d runs on", pid)
			}
		}
	})
	t.Run("ignores", func(t *testing.T) {
		g, said := begin(t, script(`trap '' TERM HUP INT; echo up; while :; do sleep 0.1; done`))
		until(t, "it is up", func() bool { return strings.Contains(said.String(), "up") })
		g.End()
		if g.Status() != "signal: killed" {
			t.Errorf("status %q", g.Status())
		}
	})
	t.Run("is stopped", func(t *testing.T) {
		g, said := begin(t, script(`echo up; while :; do sleep 0.1; done`))
		until(t, "it is up", func() bool { return strings.Contains(said.String(), "up") })
		if err := unix.Kill(g.PID(), unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		g.End()
		if g.Status() != "signal: terminated" {
			t.Errorf("status %q", g.Status())
		}
	})
}

// Nothing is left of a program when the process that wanted it, or its guard, is killed.
func TestAKillLeavesNothing(t *testing.T) {
	for _, victim := range []string{"who wants it", "its guard"} {
		t.Run(victim, func(t *testing.T) {
			said := &text{}
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), wantsEnv+"=setsid sleep 1000 & echo child $!; sleep 1001")
			cmd.Stdout, cmd.WaitDelay = said, time.Second
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var guard, first, child int
			until(t, "it runs", func() bool {
				text := said.String()
				for _, line := range strings.Split(text, "\n") {
					_, _ = fmt.Sscanf(line, "runs %d %d", &guard, &first)
					_, _ = fmt.Sscanf(line, "child %d", &child)
				}
				return guard != 0 && child != 0
			})
			if victim == "its guard" {
				_ = unix.Kill(guard, unix.SIGKILL)
				until(t, "all is gone", func() bool { return !runs(guard) && !runs(first) && !runs(child) })
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			until(t, "all is gone", func() bool { return !runs(guard) && !runs(first) && !runs(child) })
		})
	}
}

func TestAProgramThatCannotBeStartedIsNamed(t *testing.T) {
	folder := t.TempDir()
	plain, script := filepath.Join(folder, "plain"), filepath.Join(folder, "script")
	for path, mode := range map[string]os.FileMode{plain: 0o644, script: 0o755} {
		if err := os.WriteFile(path, []byte("echo\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, says := range map[string]string{"no-such-program": "there is no such program", folder + "/none": "there is no such program",
		plain: "the user may not execute it", script: "does a script lack its #! line"} {
		_, err := Start(Command{Args: []string{name}}, nil, (*exec.Cmd).Start)
		var start *StartError
		if !errors.As(err, &start) || !strings.Contains(err.Error(), "start "+name) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", name, err, says)
		}
		if err := Find(name); (err != nil) != (name != script) {
			t.Errorf("Find(%s): %v", name, err)
		}
	}
}

// A program that stops its guard is ended all the same.
func TestAGuardThatIsStoppedHoldsNothingUp(t *testing.T) {
	for _, how := range []string{"kill -STOP $PPID", "while :; do kill -STOP $PPID; done"} {
		g, said := begin(t, script("echo up; sleep 1001 & "+how+"; sleep 1000"))
		until(t, "it is up", func() bool { return strings.Contains(said.String(), "up") })
		all := g.Processes()
		g.End()
		until(t, "all is gone", func() bool { return !slices.ContainsFunc(all, runs) && !runs(g.PID()) })
	}
}

// Names and arguments are bytes, and may be long.
func TestArgumentsArriveAsTheyAre(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	c := Command{Args: []string{"sh", "-c", `printf '%s|' "$1" "$2"; echo "${#3} ${#4}"`, "sh", "caf\xe9", "", long, long}, Environ: []string{"LAT=\xff\xfe"}}
	g, said := begin(t, c)
	ended(t, g)
	if <-g.gone; said.String() != "caf\xe9||100000 100000\n" {
		t.Errorf("it has %q", said)
	}
}

func TestAProgramHasTheFilesAskedFor(t *testing.T) {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		t.Fatal(err)
	}
	c := script("ulimit -n; ulimit -Hn")
	c.Files = own.Max
	g, said := begin(t, c)
	ended(t, g)
	if <-g.gone; said.String() != fmt.Sprintf("%d\n%d\n", own.Max, own.Max) || g.Files() != own.Max {
		t.Errorf("limits %q, told %d, want %d twice", said, g.Files(), own.Max)
	}
	c.Files = 0
	g, said = begin(t, c)
	ended(t, g)
	if <-g.gone; !strings.HasSuffix(said.String(), fmt.Sprintf("\n%d\n", own.Max)) {
		t.Errorf("limits %q, want the hard one to be %d", said, own.Max)
	}
}

// The program's environment has nothing of the guard's, and its standard input is empty.
func TestAProgramHasAnEnvironmentOfItsOwn(t *testing.T) {
	g, said := begin(t, script("env | grep -c CONNPROF_GUARD; cat; echo end"))
	ended(t, g)
	if <-g.gone; said.String() != "0\nend\n" {
		t.Errorf("it wrote %q", said)
	}
	c := script("env")
	c.Environ = []string{"ONE=1"}
	g, said = begin(t, c)
	ended(t, g)
	if <-g.gone; !strings.Contains(said.String(), "ONE=1\n") || strings.Contains(said.String(), "PATH=") && strings.Contains(said.String(), "HOME=") {
		t.Errorf("its environment is %q", said)
	}
	if os.Geteuid() == 0 {
		c = script("id -u; id -g")
		c.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
		g, said = begin(t, c)
		ended(t, g)
		if <-g.gone; said.String() != "65534\n65534\n" {
			t.Errorf("it is %q", said)
		}
	}
}
