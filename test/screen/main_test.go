// Package screen plays connprof top on a real terminal: tmux, keys, and what the screen shows of sockets whose number is known.
package screen

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/connprof/connprof/netcfg"
)

// limit is how long anything may take. Nothing takes that long unless it hangs.
const limit = 20 * time.Second

var connprof string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "connprof-screen-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	connprof = filepath.Join(dir, "connprof")
	if out, err := exec.Command("go", "build", "-o", connprof, "../../cmd/connprof").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build connprof: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// terminal is connprof top in a terminal of its own. What comes after it tells how it has left the terminal.
type terminal struct {
	t      *testing.T
	socket string
}

// newTerminal starts it, with more variables in its environment.
func newTerminal(t *testing.T, width, height int, variables []string, args ...string) *terminal {
	t.Helper()
	dir := t.TempDir()
	s := &terminal{t: t, socket: filepath.Join(dir, "tmux")}
	line := strings.Join(append([]string{"env", "TERM=screen-256color"}, variables...), " ") + " " + connprof + " top " + strings.Join(args, " ") +
		`; echo "END $?"; stty -a | tr ' ;' '\n\n' | grep -x -e icanon -e echo -e isig | tr '\n' ' '; exec sleep 600`
	s.tmux("-f", "/dev/null", "new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height), "-c", dir, "sh", "-c", line)
	t.Cleanup(func() { s.tmux("kill-server") })
	return s
}

func (s *terminal) tmux(args ...string) string {
	s.t.Helper()
	var out, complaint bytes.Buffer
	cmd := exec.Command("tmux", append([]string{"-S", s.socket}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("tmux %s: %v: %s (make record-tools installs it)", args, err, &complaint)
	}
	return out.String()
}

func (s *terminal) keys(keys ...string) {
	s.t.Helper()
	s.tmux(append([]string{"send-keys"}, keys...)...)
}

func (s *terminal) text() string { return s.tmux("capture-pane", "-p") }

// shows waits until the screen has all of these.
func (s *terminal) shows(patterns ...string) string {
	s.t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		text, missing := s.text(), ""
		for _, p := range patterns {
			if !regexp.MustCompile("(?m)" + p).MatchString(text) {
				missing = p
			}
		}
		if missing == "" {
			return text
		}
		if time.Now().After(end) {
			s.t.Fatalf("no %q in %v on the screen:\n%s", missing, limit, text)
		}
	}
}

// pid is that of connprof: the shell's child.
func (s *terminal) pid() int {
	s.t.Helper()
	shell := strings.TrimSpace(s.tmux("display-message", "-p", "#{pane_pid}"))
	children, err := os.ReadFile("/proc/" + shell + "/task/" + shell + "/children")
	pid, err2 := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil || err2 != nil {
		s.t.Fatal(err, err2)
	}
	return pid
}

// asItWas waits for the end with a status, and for a terminal that echoes and takes lines again.
func (s *terminal) asItWas(status int) {
	s.t.Helper()
	s.shows(fmt.Sprintf("^END %d$", status), "^isig icanon echo")
	if flag := strings.TrimSpace(s.tmux("display-message", "-p", "#{alternate_on}#{mouse_any_flag}#{cursor_flag}")); flag != "001" {
		s.t.Errorf("other screen, mouse and cursor are %s after it", flag)
	}
}

// known is sockets whose number is known, in a network of their own: so many connections with both ends, one listener.
type known struct {
	*netcfg.Private
	listener net.Listener
	ends     []net.Conn
}

const pairs = 30

func newKnown(t *testing.T) *known {
	t.Helper()
	network, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	k := &known{Private: network}
	t.Cleanup(func() {
		for _, c := range k.ends {
			c.Close()
		}
		k.listener.Close()
	})
	if err := network.Do(func() error {
		k.listener, err = net.Listen("tcp4", "127.0.0.1:7070")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for range pairs {
		k.open(t)
	}
	return k
}

// open opens one more connection. What comes in is not read.
func (k *known) open(t *testing.T) {
	t.Helper()
	if err := k.Do(func() error {
		client, err := net.Dial("tcp4", "127.0.0.1:7070")
		if err != nil {
			return err
		}
		server, err := k.listener.Accept()
		k.ends = append(k.ends, client, server)
		if err != nil {
			return err
		}
		_, err = client.Write(make([]byte, 1000))
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func (k *known) flags() []string { return []string{"--netns", fmt.Sprint(k.Inode()), "-i", "100ms"} }

func signalTo(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}
