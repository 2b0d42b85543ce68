package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"

	"github.com/connprof/connprof/internal/recording"
)

// The contenders, by their place in every list.
const (
	with = iota
	without
	plainPair
)

// contender opens connections, and tells how long that took.
type contender struct {
	name string
	run  func(connections int) (sample, error)
}

// sample is one run. Seconds are from the first connect() to the last connection that was up.
type sample struct {
	connections int
	seconds     float64
	cpuSeconds  float64 // of all its processes meanwhile, softirqs in their name included
	allCPU      float64 // the same from its start to its end
}

func (s sample) rate() float64 { return float64(s.connections) / s.seconds }

// cpuEach is the CPU time of a connection in microseconds.
func (s sample) cpuEach() float64 { return 1e6 * s.cpuSeconds / float64(s.connections) }

// connprofs are the program with and without its probes.
func connprofs(program, dir string) []contender {
	file := filepath.Join(dir, "rec.json")
	runs := func(more ...string) func(int) (sample, error) {
		return func(n int) (sample, error) {
			args := append([]string{"run", "--ips", strconv.Itoa(clientAddresses), "--conns", strconv.Itoa(n), "-o", file}, more...)
			_, cpu, err := output(exec.Command(program, args...))
			if err != nil {
				return sample{}, err
			}
			rec, err := recording.ReadFile(file)
			if err != nil {
				return sample{}, err
			}
			l := rec.Machines[0].Load
			return checked(sample{l.Established, l.ConnectSeconds, l.ConnectCPUSeconds, cpu}, n)
		}
	}
	return []contender{with: {"with", runs()}, without: {"without", runs("--no-profile")}}
}

//go:embed plain/pair.c
var pairSource []byte

// buildPair compiles the plain pair.
func buildPair(dir string) (contender, error) {
	program := filepath.Join(dir, "pair")
	gcc := exec.Command("gcc", "-O2", "-pthread", "-x", "c", "-o", program, "-")
	gcc.Stdin = bytes.NewReader(pairSource)
	if _, _, err := output(gcc); err != nil {
		return contender{}, fmt.Errorf("build the plain pair: %w; install gcc and libc6-dev", err)
	}
	return contender{"plain", func(n int) (sample, error) {
		text, cpu, err := output(exec.Command(program, strconv.Itoa(clientAddresses), strconv.Itoa(n)))
		if err != nil {
			return sample{}, err
		}
		s := sample{allCPU: cpu}
		if _, err := fmt.Sscan(text, &s.connections, &s.seconds, &s.cpuSeconds); err != nil {
			return sample{}, fmt.Errorf("read %q: %w", text, err)
		}
		return checked(s, n)
	}}, nil
}

// checked refuses a run that is not comparable.
func checked(s sample, wanted int) (sample, error) {
	if s.connections != wanted || s.seconds <= 0 || s.cpuSeconds <= 0 {
		return sample{}, fmt.Errorf("%d of %d connections came up in %.3f s, with %.3f s of the CPUs", s.connections, wanted, s.seconds,
			s.cpuSeconds)
	}
	return s, nil
}

// output runs a command. It gives the CPU seconds of the command and of the children that it waited for.
func output(cmd *exec.Cmd) (text string, cpu float64, err error) {
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(complaint.String()), "\n")
		return "", 0, fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, lines[len(lines)-1])
	}
	return out.String(), (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
}

// hostCPU is the seconds that all CPUs have been busy since boot, 0 where /proc/stat cannot be read.
func hostCPU() float64 {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0
	}
	stat, err := fs.Stat()
	if err != nil {
		return 0
	}
	c := stat.CPUTotal
	return c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ
}

// othersShare is what other programs took of the CPUs: the busy time that is not the contenders' own.
func othersShare(busy, own float64, elapsed time.Duration) float64 {
	return max(0, busy-own) / (elapsed.Seconds() * float64(runtime.NumCPU()))
}
