package cli

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The test program is also the server of the tests of `run -- COMMAND`: it knows what it does, and counts.
//
//	server WORD...    words: address=A port=N backlog=N after=SECONDS (listen) dies daemon crash=N deaf slow closes=N greets=TEXT
//	                  echo hoard=BYTES workers=N who stubborn leaves v6only mark=NAME
//
// SIGUSR1 has it close all connections.
const serverWord = "server"

// serverMain turns the process into such a server if it was started as one, and then does not return.
func serverMain() {
	if len(os.Args) < 2 || os.Args[1] != serverWord {
		return
	}
	s := &testServer{words: map[string]string{"address": "0.0.0.0", "port": "8080"}}
	for _, w := range os.Args[2:] {
		name, value, _ := strings.Cut(w, "=")
		s.words[name] = value
	}
	s.serve()
	os.Exit(0)
}

// testServer counts what it has accepted, and the lines that it has read.
type testServer struct {
	words           map[string]string
	accepted, lines atomic.Int64
	mu              sync.Mutex
	kept            [][]byte
	open            []net.Conn
}

func (s *testServer) has(word string) bool { _, ok := s.words[word]; return ok }

func (s *testServer) number(word string) int {
	n, _ := strconv.Atoi(s.words[word])
	return n
}

func fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(7)
}

func (s *testServer) serve() {
	switch {
	case s.has("dies"):
		fatal("the configuration is broken")
	case s.has("daemon") && os.Getenv("DAEMON") == "":
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Env, cmd.SysProcAttr, cmd.Stderr = append(os.Environ(), "DAEMON=1"), &syscall.SysProcAttr{Setsid: true}, os.Stderr
		if err := cmd.Start(); err != nil {
			fatal(err)
		}
		return
	case s.has("stubborn"):
		signal.Ignore(syscall.SIGTERM)
	}
	time.Sleep(time.Duration(s.number("after")) * time.Second)
	l := s.listen()
	if s.has("who") {
		fmt.Fprintln(os.Stderr, "user", os.Getuid(), "group", os.Getgid(), "home", os.Getenv("HOME"))
	}
	if n := s.number("workers"); n > 0 && os.Getenv("WORKER") == "" {
		s.master(l[0], n)
		return
	}
	for _, l := range l {
		go s.accept(l)
	}
	end, idle := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(idle, syscall.SIGUSR1)
	go func() {
		<-idle
		s.closeAll()
	}()
	if !s.has("stubborn") {
		signal.Notify(end, syscall.SIGTERM)
	}
	<-end
	fmt.Fprintln(os.Stderr, "accepted", s.accepted.Load(), "lines", s.lines.Load())
}

// listen makes the listeners, or takes the one that a master has handed down.
func (s *testServer) listen() (list []*net.TCPListener) {
	if os.Getenv("WORKER") != "" {
		l, err := net.FileListener(os.NewFile(3, "listener"))
		if err != nil {
			fatal(err)
		}
		return append(list, l.(*net.TCPListener))
	}
	for _, port := range strings.Split(s.words["port"], ",") {
		l, err := net.Listen(s.network(), net.JoinHostPort(s.words["address"], port))
		if err != nil {
			fatal(err)
		}
		list = append(list, l.(*net.TCPListener))
	}
	return list
}

func (s *testServer) network() string {
	if s.has("v6only") {
		return "tcp6" // for which package net sets IPV6_V6ONLY
	}
	return "tcp"
}

// master has workers accept, and ends them when it is told to.
func (s *testServer) master(l *net.TCPListener, n int) {
	file, err := l.File()
	if err != nil {
		fatal(err)
	}
	var workers []*exec.Cmd
	for range n {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Env, cmd.ExtraFiles, cmd.Stderr = append(os.Environ(), "WORKER=1"), []*os.File{file}, os.Stderr
		if err := cmd.Start(); err != nil {
			fatal(err)
		}
		workers = append(workers, cmd)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
	for _, w := range workers {
		_ = w.Process.Signal(syscall.SIGTERM)
		_ = w.Wait()
	}
}

func (s *testServer) accept(l *net.TCPListener) {
	if s.has("deaf") {
		return
	}
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		n := int(s.accepted.Add(1))
		if s.has("slow") {
			time.Sleep(5 * time.Millisecond)
		}
		if crash := s.number("crash"); crash > 0 && n == crash {
			fmt.Fprintln(os.Stderr, "out of luck")
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		if each := s.number("closes"); each > 0 && n%each == 0 {
			c.Close()
			continue
		}
		go s.talk(c)
	}
}

// closeAll closes all connections, and says so.
func (s *testServer) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		c.Close()
	}
	fmt.Fprintln(os.Stderr, "closed", len(s.open))
}

func (s *testServer) talk(c net.Conn) {
	s.mu.Lock()
	s.open = append(s.open, c)
	s.mu.Unlock()
	if size := s.number("hoard"); size > 0 {
		b := make([]byte, size)
		for i := 0; i < size; i += 512 {
			b[i] = 1
		}
		s.mu.Lock()
		s.kept = append(s.kept, b)
		s.mu.Unlock()
	}
	if s.has("greets") {
		_, _ = c.Write([]byte(s.words["greets"] + "\r\n"))
	}
	if s.has("leaves") {
		c.Close()
		return
	}
	for lines := bufio.NewScanner(c); lines.Scan(); {
		s.lines.Add(1)
		if s.has("echo") {
			_, _ = c.Write([]byte(lines.Text() + "\r\n"))
		}
	}
}
