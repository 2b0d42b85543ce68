package cli

import (
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

const outputConns = "200"

func TestStandardOutputHasTheRecordingAlone(t *testing.T) {
	r := connprof(t, "run", "--conns", outputConns, "-o", "-").exits(t, exitDone)
	if _, err := recording.Read(strings.NewReader(r.stdout)); err != nil {
		t.Errorf("%v: %v", err, r)
	}
	says(t, "stderr", r.stderr, "One connection costs")
}

// What cannot be written does not lose the rest.
func TestAFullDiskLosesNeitherTheAccountNorTheRecording(t *testing.T) {
	cmd := command(t, "run", "--conns", outputConns, "-o", "rec.json", "--html", "/dev/full", "--endpoints", "/dev/full")
	r := finish(t, cmd)
	r.complains(t, exitFailed, "write /dev/full: no space left on device")
	says(t, "stdout", r.stdout, "One connection costs")
	readOne(t, filepath.Join(cmd.Dir, "rec.json"))
}

func TestAReaderThatDoesNotReadKeepsNoConnectionOpen(t *testing.T) {
	cmd := command(t, "run", "--conns", outputConns, "-o", "pipe", "--html", "page.html")
	pipe := filepath.Join(cmd.Dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	connprof(t, "run", "--conns", outputConns, "-o", pipe).refuses(t, exitFailed, pipe, "start the reader first")
	reader, err := os.OpenFile(pipe, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	c := start(t, cmd)
	c.until(t, "the connections are closed", func() bool {
		_, err := os.Stat(filepath.Join(cmd.Dir, "page.html"))
		return err == nil && c.worker("client") == 0 && c.worker("server") == 0
	})
	c.signal(t, syscall.SIGTERM)
	c.signal(t, syscall.SIGINT)
	r := c.wait(t)
	r.complains(t, exitFailed, "write pipe", "its reader does not read")
	says(t, "stdout", r.stdout, "One connection costs")
}

// The terminal goes, and with it whoever reads.
func TestARunWhoseTerminalIsGoneKeepsItsRecording(t *testing.T) {
	// Under nohup SIGHUP is ignored, by the run as well. What a process handles its children do not inherit.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	// A busy host may keep this test waiting for seconds before it closes the terminal: the run must not be over by then.
	cmd := command(t, "run", "--conns", "20k", "--rate", crashRate, "-o", "rec.json")
	master, slave := terminal(t)
	cmd.Stdout, cmd.Stderr, cmd.Stdin = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	b := make([]byte, 1)
	for shown := ""; !strings.Contains(shown, " up"); shown += string(b) {
		if _, err := master.Read(b); err != nil {
			t.Fatalf("%v after %q", err, shown)
		}
	}
	master.Close() // the kernel sends SIGHUP
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != exitFailed {
		t.Errorf("it ended with %v", err)
	}
	if rec := readRecording(t, filepath.Join(cmd.Dir, "rec.json")); rec.Interrupted == "" {
		t.Errorf("it was not interrupted: %+v", rec.Load())
	}
}

func TestProgressKeepsToTheTerminalsWidth(t *testing.T) {
	const columns = 40
	cmd := command(t, "run", "--conns", "300", "--rate", "300")
	master, slave := terminal(t)
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	stderr := shownOn(t, cmd, master, slave)
	lines := 0
	for _, line := range strings.FieldsFunc(stderr, func(r rune) bool { return r == '\r' || r == '\n' }) {
		if strings.Contains(line, " up") {
			lines++
			if format.Columns(line) >= columns {
				t.Errorf("%d columns: %q", format.Columns(line), line)
			}
		}
	}
	if lines == 0 {
		t.Errorf("no progress: %q", stderr)
	}
}

// shownOn is what a child writes to a terminal of its stderr.
func shownOn(t *testing.T, cmd *exec.Cmd, master, slave *os.File) string {
	t.Helper()
	cmd.Stderr = slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	shown, _ := io.ReadAll(master) // EIO once the child has closed it
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, shown)
	}
	return string(shown)
}
