package measure

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket makes a socket of the scene's namespace; where it is used from then on does not matter.
func (s *scene) socket(family int) int {
	s.t.Helper()
	fd := -1
	if err := s.network.Do(func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	s.sockets[fd] = true
	return fd
}

// close closes sockets.
func (s *scene) close(fds ...int) {
	s.t.Helper()
	for _, fd := range fds {
		delete(s.sockets, fd)
		if err := unix.Close(fd); err != nil {
			s.t.Fatal(err)
		}
	}
}

// listener is a listening socket and where it is to be reached.
type listener struct {
	fd   int
	at   unix.Sockaddr
	port int
}

var loopback4 = [4]byte{127, 0, 0, 1}

// listen listens on the IPv4 loopback address.
func (s *scene) listen(backlog int) listener {
	s.t.Helper()
	return s.listenAt(unix.AF_INET, &unix.SockaddrInet4{Port: listenPort, Addr: loopback4}, backlog)
}

const listenPort = 7777

func (s *scene) listenAt(family int, at unix.Sockaddr, backlog int) listener {
	s.t.Helper()
	fd := s.socket(family)
	if err := errors.Join(unix.Bind(fd, at), unix.Listen(fd, backlog)); err != nil {
		s.t.Fatal(err)
	}
	return listener{fd, at, listenPort}
}

// connect opens n connections that nobody has accepted yet.
func (s *scene) connect(to unix.Sockaddr, n int) []int {
	s.t.Helper()
	family := unix.AF_INET
	if _, v6 := to.(*unix.SockaddrInet6); v6 {
		family = unix.AF_INET6
	}
	var clients []int
	for range n {
		fd := s.socket(family)
		if err := unix.Connect(fd, to); err != nil {
			s.t.Fatal(err)
		}
		clients = append(clients, fd)
	}
	return clients
}

// accept accepts n connections.
func (s *scene) accept(l listener, n int) []int {
	s.t.Helper()
	var servers []int
	for range n {
		fd, _, err := unix.Accept4(l.fd, unix.SOCK_CLOEXEC)
		if err != nil {
			s.t.Fatal(err)
		}
		s.sockets[fd] = true
		servers = append(servers, fd)
	}
	return servers
}

// open opens n connections, one after the other.
func (s *scene) open(l listener, n int) (clients, servers []int) {
	s.t.Helper()
	for range n {
		clients = append(clients, s.connect(l.at, 1)...)
		servers = append(servers, s.accept(l, 1)...)
	}
	return clients, servers
}

// disconnect takes a socket's connection away and leaves the socket.
func (s *scene) disconnect(fd int) {
	s.t.Helper()
	nowhere := make([]byte, unix.SizeofSockaddrInet4) // AF_UNSPEC is 0
	if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&nowhere[0])),
		uintptr(len(nowhere))); errno != 0 {
		s.t.Fatal(errno)
	}
}

// pidText is this process, as the list of endpoints names it.
var pidText = strconv.Itoa(os.Getpid())

// awaitSleeping waits until these threads of this process sleep.
func (s *scene) awaitSleeping(threads []int) {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		awake := 0
		for _, tid := range threads {
			b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", tid))
			if err != nil {
				s.t.Fatal(err)
			}
			if _, state, _ := strings.Cut(string(b), ") "); !strings.HasPrefix(state, "S") {
				awake++
			}
		}
		if awake == 0 {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("%d of %d threads do not wait", awake, len(threads))
		}
	}
}

// badLuckEnv turns the test binary into one of the programs below; its value is the name and arguments.
const badLuckEnv = "CONNPROF_TEST_BAD_LUCK"

// badLuckMain runs such a program and ends the process. Each answers a line when it has done its work and then stays
// until its input ends.
func badLuckMain() {
	words := strings.Fields(os.Getenv(badLuckEnv))
	if len(words) == 0 {
		return
	}
	var n int
	if _, err := fmt.Sscan(words[1], &n); err != nil {
		panic(err)
	}
	err := map[string]func(int) error{
		"hold":    func(int) error { return nil },
		"receive": receiveSockets,
		"connect": connectBlocking,
		"hang":    hangInConnect,
	}[words[0]](n)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(plainReady)
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// receiveSockets takes n sockets that come one by one over file descriptor 3.
func receiveSockets(n int) error {
	for range n {
		control := make([]byte, unix.CmsgSpace(4))
		_, m, _, _, err := unix.Recvmsg(3, make([]byte, 1), control, 0)
		if err != nil {
			return err
		}
		messages, err := unix.ParseSocketControlMessage(control[:m])
		if err != nil || len(messages) != 1 {
			return fmt.Errorf("%d control messages: %v", len(messages), err)
		}
		if _, err := unix.ParseUnixRights(&messages[0]); err != nil {
			return err
		}
	}
	return nil
}

var listening = &unix.SockaddrInet4{Port: listenPort, Addr: loopback4}

func connectBlocking(n int) error {
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err := errors.Join(err, unix.Connect(fd, listening)); err != nil {
			return err
		}
	}
	return nil
}

// hangInConnect starts n connections without an answer; it waits within connect() for the last.
func hangInConnect(n int) error {
	for i := range n {
		kind := unix.SOCK_STREAM
		if i < n-1 {
			kind |= unix.SOCK_NONBLOCK
		}
		fd, err := unix.Socket(unix.AF_INET, kind, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, listening); err != nil && err != unix.EINPROGRESS {
			return fmt.Errorf("connect() says %v", err)
		}
	}
	return nil
}

// program is one of the programs above as a process.
type program struct {
	s      *scene
	cmd    *exec.Cmd
	input  io.WriteCloser
	output *bufio.Reader
}

// start starts a program that inherits sockets, within the namespace or outside.
func (s *scene) start(command string, start func(*exec.Cmd) error, sockets ...int) *program {
	s.t.Helper()
	p := &program{s: s, cmd: exec.Command("/proc/self/exe")}
	p.cmd.Env = append(os.Environ(), badLuckEnv+"="+command)
	p.cmd.Stderr = os.Stderr
	for _, fd := range sockets {
		copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			s.t.Fatal(err)
		}
		file := os.NewFile(uintptr(copied), "socket")
		defer file.Close()
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, file)
	}
	var err error
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	output, err := p.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	p.output = bufio.NewReader(output)
	if err := start(p.cmd); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(p.kill)
	return p
}

// outside starts a process in the namespace that the test was started in.
func outside(cmd *exec.Cmd) error { return cmd.Start() }

// answer waits until the program has done its work.
func (p *program) answer() *program {
	p.s.t.Helper()
	if line, err := p.output.ReadString('\n'); strings.TrimSpace(line) != plainReady {
		p.s.t.Fatalf("the program says %q (%v)", line, err)
	}
	return p
}

// kill ends the program as the OOM killer would. Once is enough, but twice is no harm.
func (p *program) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
}
