package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// watcher watches connections being opened, on the whole host.
type watcher struct {
	name  string
	args  []string // nobody watches if empty
	ready string   // what it says when it watches; empty: it has a second
}

// watchersOf are all that are compared, nobody first. All but connprof may be missing.
func watchersOf(connprof, dir string) []watcher {
	out := filepath.Join(dir, "out")
	record := []string{connprof, "record", "--duration", "1h", "-o", out + ".json"}
	const count = `tracepoint:sock:inet_sock_set_state { @[pid, args->newstate, ustack] = count(); }`
	return []watcher{
		{name: "nobody"},
		{name: "record --stacks off", args: append(record[:len(record):len(record)], "--stacks", "off"), ready: "opens/s"},
		{name: "record", args: record, ready: "opens/s"},
		{name: "record --accept-stacks", args: append(record[:len(record):len(record)], "--accept-stacks"), ready: "opens/s"},
		{name: "bpftrace, stacks", args: []string{"bpftrace", "-o", out + ".bt", "-e", count}, ready: "Attaching"},
		{name: "perf record -g", args: []string{"perf", "record", "-q", "-a", "-g", "-o", out + ".perf",
			"-e", "sock:inet_sock_set_state"}},
	}
}

// available leaves out those that cannot watch here, and says why.
func available(list []watcher) (can []watcher) {
	for _, w := range list {
		end, err := w.begin()
		if err == nil {
			err = end()
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "recordbench: without %s: %v\n", w.name, err)
			continue
		}
		can = append(can, w)
	}
	return can
}

// said is what a watcher has written so far.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// begin starts it, waits until it watches, and gives the function that ends it.
func (w watcher) begin() (end func() error, err error) {
	if len(w.args) == 0 {
		return func() error { return nil }, nil
	}
	cmd, text := exec.Command(w.args[0], w.args[1:]...), &said{}
	cmd.Stdout, cmd.Stderr = text, text
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // a Ctrl-C comes to this program, which ends it
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	end = func() error {
		_ = cmd.Process.Signal(unix.SIGINT) // an error says that it has ended
		return interrupted(<-ended, text)
	}
	if err := w.await(text, ended); err != nil {
		_ = cmd.Process.Kill()
		return nil, err
	}
	return end, nil
}

// await waits until it watches.
func (w watcher) await(text *said, ended chan error) error {
	limit := time.After(time.Minute)
	begun := time.Now()
	for {
		if w.ready != "" && strings.Contains(text.String(), w.ready) || w.ready == "" && time.Since(begun) > time.Second {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("it ended: %w: %s", err, lastLine(text))
		case <-limit:
			return fmt.Errorf("it does not say that it watches: %s", lastLine(text))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func lastLine(text *said) string {
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	return lines[len(lines)-1]
}

// interrupted lets pass that a program which was interrupted has ended by that: perf does so.
func interrupted(err error, text *said) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status := exit.Sys().(interface{ Signaled() bool }); status.Signaled() || exit.ExitCode() == 130 {
		return nil
	}
	return fmt.Errorf("%w: %s", err, lastLine(text))
}
