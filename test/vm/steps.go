package vm

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/connprof/connprof/test/vm/wire"
)

// growing reads a file that another program still writes, to where it ends once that is over.
type growing struct {
	file *os.File
	over <-chan struct{}
}

// look is the pause between two looks at a file that has not grown.
const look = 100 * time.Millisecond

func (g *growing) Read(b []byte) (int, error) {
	for over := false; ; {
		n, err := g.file.Read(b)
		if n > 0 || err != io.EOF || over {
			return n, err
		}
		select {
		case <-g.over:
			over = true // and what was written since the last look is still to come
		case <-time.After(look):
		}
	}
}

// stepOf is a line about what a frame says is over, empty where that is no step.
func (r *Result) stepOf(f wire.Frame) string {
	switch f.Kind {
	case wire.BootFrame:
		return fmt.Sprintf("kernel %s: init after %.1f s", r.Boot.Release, r.Boot.Seconds)
	case wire.CommandFrame:
		return outcome(r.Commands[len(r.Commands)-1])
	}
	return ""
}

// outcome is how a command ended, in a line.
func outcome(c wire.CommandResult) string {
	text := fmt.Sprintf("%s took %.1f s", brief(c.Argv), c.Seconds)
	if failed(c) {
		text += fmt.Sprintf(", FAILED: exit status %d %s", c.ExitCode, c.Error)
	}
	return strings.TrimSpace(text)
}

// brief is a command without its path, and a package's tests without their flags.
func brief(argv []string) string {
	if len(argv) == 0 {
		return "no command"
	}
	if folder, ok := strings.CutPrefix(path.Dir(argv[0]), "/test/"); ok {
		return folder
	}
	return strings.Join(append([]string{path.Base(argv[0])}, argv[1:]...), " ")
}

func failed(c wire.CommandResult) bool { return c.Error != "" || c.ExitCode != 0 }

// complaint is what a failed command wrote, without the list of its goroutines that a Go program adds when it is killed for
// taking too long: what it was waiting for is seldom in there, and it is a thousand lines long.
func complaint(c wire.CommandResult) string {
	text, goroutines, killed := strings.Cut(c.Output, "SIGQUIT: quit")
	if killed {
		text += fmt.Sprintf("[it was killed; %d lines about its goroutines are left out]\n", strings.Count(goroutines, "\n"))
	}
	return text
}

// byCause sorts failed commands: those that gave up by themselves come before those that were killed while they waited.
func byCause(a, b wire.CommandResult) int {
	switch {
	case (a.Error == "") == (b.Error == ""):
		return 0
	case a.Error == "":
		return -1
	}
	return 1
}
