package screen

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/connprof/connprof/internal/recording"
)

func TestTheScreenShowsAKnownSetOfSockets(t *testing.T) {
	k := newKnown(t)
	s := newTerminal(t, 100, 30, nil, k.flags()...)
	s.shows(fmt.Sprintf(`^sockets +%d `, 2*pairs+1), fmt.Sprintf(`%d ESTABLISHED, 1 LISTEN`, 2*pairs),
		fmt.Sprintf(`^>.screen\.test.* %d +0 `, 2*pairs+1))
	// More of them are more, and are marked.
	for range 5 {
		k.open(t)
	}
	s.shows(fmt.Sprintf(`^sockets +%d `, 2*pairs+11), fmt.Sprintf(`^>▲screen\.test.* %d +\+10 `, 2*pairs+11))
	// Down to one socket.
	s.keys("Enter")
	s.shows(`by process > screen\.test`, fmt.Sprintf(`^> ESTABLISHED +%d `, 2*pairs+10), `^  LISTEN +1 `)
	s.keys("Enter")
	text := s.shows(`> ESTABLISHED`, `^> 127\.0\.0\.1:7070 > 127\.0\.0\.1:\d+ .* 1,000 `)
	if n := len(regexp.MustCompile(`(?m)^[> ] 127\.0\.0\.1:\d+ > 127`).FindAllString(text, -1)); n != 22 {
		t.Errorf("%d sockets on a screen with place for 22:\n%s", n, text)
	}
	s.keys("Enter")
	text = s.shows(`^local +127\.0\.0\.1:7070`, `^state +ESTABLISHED, server`, `of which 1,?000 B nobody has read`, `^ +1 tcp_sock`)
	peer := regexp.MustCompile(`remote +(\S+)`).FindStringSubmatch(text)[1]
	known := false
	for _, c := range k.ends {
		known = known || c.LocalAddr().String() == peer
	}
	if !known {
		t.Errorf("the peer %s is none of the test's", peer)
	}
	if !strings.Contains(text, fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("the socket is not process %d's:\n%s", os.Getpid(), text)
	}
	s.keys("Escape")
	s.shows(`> ESTABLISHED *$`)
	s.keys("Left", "h")
	s.shows(`by process, sorted by bytes`)
	// Divided and chosen otherwise.
	s.keys("Tab", "Tab", "Tab", "Tab")
	s.shows(`by state`, fmt.Sprintf(`ESTABLISHED +%d `, 2*pairs+10))
	s.keys("/", `lport == 7070 and state == "ESTABLISHED"`, "Enter")
	s.shows(fmt.Sprintf(`^sockets +%d `, pairs+5), `filter lport == 7070`)
	s.keys("?")
	s.shows(`any key +back`)
	s.keys("x", "q")
	s.asItWas(0)
}

func TestWOnTheScreenWritesARecording(t *testing.T) {
	k := newKnown(t)
	s := newTerminal(t, 80, 24, nil, k.flags()...)
	s.shows(fmt.Sprintf(`^sockets +%d `, 2*pairs+1))
	s.keys("w")
	name := regexp.MustCompile(`wrote (\S+\.json)`).FindStringSubmatch(s.shows(`wrote \S+\.json`))[1]
	file := filepath.Join(strings.TrimSpace(s.tmux("display-message", "-p", "#{pane_current_path}")), name)
	rec, err := recording.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range rec.Machines[0].Groups {
		n += g.Count
	}
	if rec.Kind != recording.KindSnapshot || n != 2*pairs+1 {
		t.Errorf("a %s of %d sockets", rec.Kind, n)
	}
	s.keys("C-c")
	s.asItWas(0)
}

func TestASignalLeavesTheTerminalAsItWas(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			s := newTerminal(t, 80, 24, nil, "-i", "1h")
			s.shows(`^sockets `)
			signalTo(t, s.pid(), signal)
			s.asItWas(0)
		})
	}
}

func TestTheScreenFollowsTheTerminalsSize(t *testing.T) {
	s := newTerminal(t, 80, 24, []string{"NO_COLOR=1"}, "-i", "200ms")
	s.shows(`^sockets `, `\? help`)
	s.tmux("resize-window", "-x", "40", "-y", "20")
	s.shows(`needs 60`)
	s.tmux("resize-window", "-x", "120", "-y", "40")
	s.shows(`a socket opens/s closes/s +idle$`)
	if text := s.tmux("capture-pane", "-p", "-e"); regexp.MustCompile(`\x1b\[[0-9;]*3[0-7]m|\x1b\[38;`).MatchString(text) {
		t.Errorf("NO_COLOR is set, and there are colours:\n%q", text)
	}
	s.keys("Space")
	s.shows(`^FROZEN`)
	s.keys("q")
	s.asItWas(0)
}

// Where there is nobody to press keys it prints, as ever.
func TestWithoutATerminalItPrintsTables(t *testing.T) {
	s := newTerminal(t, 100, 30, nil, "-i", "1s", "-c", "1")
	s.shows(`^owner +sockets +change`, `^END 0$`)
	s = newTerminal(t, 100, 30, nil, "--once", "|", "cat")
	s.shows(`^owner +sockets +change`, `^END 0$`)
}
