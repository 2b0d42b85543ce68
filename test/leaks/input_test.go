package leaks

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestBadInputOfRecordIsRefused(t *testing.T) {
	gone := strconv.Itoa(deadPID(t))
	for _, c := range []struct {
		line string
		code int
		says []string
	}{
		{"-p " + gone, exitUsage, []string{gone, "no such process"}},
		{"-p 0", exitUsage, []string{"--pid", "0"}},
		{"-p -3", exitUsage, []string{"--pid", "-3"}},
		{"-p x", exitUsage, []string{"--pid", `"x"`}},
		{"-p 1 -- /bin/true", exitUsage, []string{"--pid", "command"}},
		{"--comm nginx -- /bin/true", exitUsage, []string{"--comm", "command"}},
		{"--duration 0s", exitUsage, []string{"--duration", "0s"}},
		{"--duration -1s", exitUsage, []string{"--duration", "-1s"}},
		{"--duration 5", exitUsage, []string{"--duration", `"5"`, "--help"}},
		{"--stacks some", exitUsage, []string{"--stacks", `"some"`, "auto", "user", "off"}},
		{"--no-such-flag", exitUsage, []string{"--no-such-flag", "connprof record --help"}},
		{"extra", exitUsage, []string{`"extra"`, "after --"}},
		{"--duration 1s --", exitUsage, []string{"--", "command"}},
		{"--duration 1s -o /no/such/place/x.json", exitFailed, []string{"/no/such/place/x.json", "no directory", "make it first"}},
		{"--duration 1s -o " + t.TempDir(), exitFailed, []string{"is a directory", "file name"}},
		{"--duration 1s -- no-such-command", exitFailed, []string{"no-such-command", "no such program"}},
		{"--duration 1s -- /no/such/command", exitFailed, []string{"/no/such/command", "no such program"}},
		{"--duration 1s -- /etc/passwd", exitFailed, []string{"/etc/passwd", "may not execute"}},
	} {
		t.Run(c.line, func(t *testing.T) {
			cmd := exec.Command(connprof, append([]string{"record"}, strings.Fields(c.line)...)...)
			cmd.Dir = t.TempDir()
			r := start(t, cmd, (*exec.Cmd).Start).exits(t, c.code)
			for _, part := range c.says {
				if !strings.Contains(r.lastLine(), part) {
					t.Errorf("the complaint does not say %q: %s", part, r.lastLine())
				}
			}
			if !strings.HasPrefix(r.lastLine(), "connprof: ") {
				t.Errorf("the last line is no complaint of connprof's: %v", r)
			}
			if left, err := os.ReadDir(cmd.Dir); err != nil || len(left) > 0 || r.stdout.String() != "" {
				t.Errorf("files are left, or something was printed: %v %v: %v", left, err, r)
			}
		})
	}
}

// Threads of the kernel can have connections. That this one has none is no mistake.
func TestAThreadOfTheKernelMayBeRecorded(t *testing.T) {
	r := newRecord(t, "--duration", "1s", "-p", "2")
	r.exits(t, exitDone)
	if got := total(r.read(t).Record); got != (counts{}) {
		t.Errorf("kthreadd has opened %+v", got)
	}
}

// deadPID is that of a process that has ended.
func deadPID(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("/bin/true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.Pid()
}

// How a command ends is the recording's to tell, and no failure of the record.
func TestHowTheCommandEndedIsTold(t *testing.T) {
	for _, c := range []struct{ script, status string }{
		{"exit 0", "exit status 0"}, {"exit 7", "exit status 7"},
		{"kill -9 $$", "signal: killed"}, {"kill -TERM $$", "signal: terminated"},
	} {
		t.Run(c.script, func(t *testing.T) {
			r := newRecord(t, "--duration", forever, "--", "/bin/sh", "-c", c.script)
			r.exits(t, exitDone)
			got := r.read(t).Record
			if got.CommandStatus != c.status || len(got.Command) != 3 || got.Command[0] != "/bin/sh" {
				t.Errorf("%q ended with %q", got.Command, got.CommandStatus)
			}
		})
	}
}

// A command that leaves its work to a child and ends is recorded until the duration is over, with what the child opens.
func TestADaemonsWorkIsRecorded(t *testing.T) {
	program := compiled(t, "leak-daemon", byCompiler("gcc", "leak.c", "-O2", "-DDAEMON"))
	s := newServer(t, here).serve(silent)
	r := newRecord(t, "--duration", forever, "--", program, s.port(), strconv.Itoa(opens), seconds())
	r.tell(t)
	daemon, err := strconv.Atoi(r.says(t, "daemon"))
	if err != nil {
		t.Fatal(err)
	}
	r.says(t, "done")
	s.saw(t, all.opened, all.closed)
	r.signal(t, syscall.SIGINT)
	r.until(t, "it has written the recording", func() bool { return strings.Contains(r.stderr.String(), "wrote ") })
	r.stdin.Close() // the daemon ends, and lets go of the standard output that it shares
	m := r.exits(t, exitDone).read(t)
	if got := total(m.Record); got != all || m.Record.CommandStatus != "exit status 0" {
		t.Errorf("%+v, want %+v; the command ended with %q", got, all, m.Record.CommandStatus)
	}
	if got := sum(through(m, cLeak, daemon)); got != leaked {
		t.Errorf("%s has %+v, want %+v", cLeak, got, leaked)
	}
}
