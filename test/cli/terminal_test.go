package cli

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// onTerminal runs a child whose stdout and stderr are a terminal, and returns what it shows.
func onTerminal(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	master, slave := terminal(t)
	cmd.Stdout, cmd.Stderr = slave, slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	shown := make(chan string)
	go func() {
		var all strings.Builder
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b) // EIO once the last one has closed the other side
			all.Write(b[:n])
			if err != nil {
				shown <- all.String()
				return
			}
		}
	}()
	err := cmd.Wait()
	text := <-shown
	ended(t, cmd, err, text, "").exits(t, exitDone)
	return text
}

// terminal opens a new pseudo-terminal.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

const escape = "\x1b["

func TestATerminalGetsColoursUnlessTheyAreUnwanted(t *testing.T) {
	recording := mainJob(t).path("rec.json")
	if text := onTerminal(t, command(t, "report", recording)); !strings.Contains(text, escape) {
		t.Error("no colours on a terminal")
	}
	if text := onTerminal(t, command(t, "report", recording, "--no-color")); strings.Contains(text, escape) {
		t.Error("colours in spite of --no-color")
	}
	cmd := command(t, "report", recording)
	cmd.Env = append(cmd.Env, "NO_COLOR=1")
	if strings.Contains(onTerminal(t, cmd), escape) {
		t.Error("colours in spite of NO_COLOR")
	}
}

func TestProgressOnATerminalIsOneLineWrittenOver(t *testing.T) {
	text := onTerminal(t, command(t, "run", "--conns", "5k", "--rate", "5k"))
	says(t, "the terminal", text, "of 5000 up", "slab", "B an endpoint", "/s")
	// The terminal turns a line feed into CR LF; a CR of its own goes back over the line.
	if n := strings.Count(strings.ReplaceAll(text, "\r\n", "\n"), "\r"); n < 3 {
		t.Errorf("the line was written over %d times:\n%q", n, text)
	}
}
