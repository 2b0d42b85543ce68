// Command churn opens and closes connections to itself on the loopback interface, so many a second, and counts them.
//
//	churn CONNECTIONS RATE
//
// Each hundredth goes to a port where nobody listens, and each thousandth stays open. The others are reset, so that none waits
// in TIME_WAIT. It begins with the first line of standard input, says "done UP REFUSED KEPT" at the end, and ends with standard
// input.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	workers     = 2
	refusedEach = 100
	keptEach    = 1000
	burst       = 20 // connections between two looks at the clock
)

// counts are what a worker has opened.
type counts struct{ up, refused, kept int }

type churner struct {
	counts
	listener   int
	at, closed unix.Sockaddr
}

func main() {
	if len(os.Args) != 3 {
		exit(errors.New("usage: churn CONNECTIONS RATE"))
	}
	connections, err := strconv.Atoi(os.Args[1])
	exit(err)
	rate, err := strconv.ParseFloat(os.Args[2], 64)
	exit(err)
	var all [workers]*churner
	for i := range all {
		all[i], err = newChurner()
		exit(err)
	}
	in := bufio.NewReader(os.Stdin)
	fmt.Println("ready")
	_, _ = in.ReadString('\n') // or its end
	sum, err := run(all[:], connections/workers, rate/workers)
	exit(err)
	fmt.Println("done", sum.up, sum.refused, sum.kept)
	_, _ = io.Copy(io.Discard, in)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "churn:", err)
		os.Exit(1)
	}
}

func newChurner() (*churner, error) {
	c := &churner{}
	var err error
	if c.listener, c.at, err = bound(); err != nil {
		return nil, err
	}
	if err := unix.Listen(c.listener, 16); err != nil {
		return nil, err
	}
	_, c.closed, err = bound() // and does not listen
	return c, err
}

func bound() (fd int, at unix.Sockaddr, err error) {
	if fd, err = socket(); err != nil {
		return -1, nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return -1, nil, err
	}
	at, err = unix.Getsockname(fd)
	return fd, at, err
}

func socket() (int, error) { return unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) }

// run has each churner do its part, and adds up.
func run(all []*churner, each int, rate float64) (sum counts, err error) {
	var done sync.WaitGroup
	errs := make([]error, len(all))
	for i, c := range all {
		done.Go(func() { errs[i] = c.churn(each, rate) })
	}
	done.Wait()
	for _, c := range all {
		sum.up, sum.refused, sum.kept = sum.up+c.up, sum.refused+c.refused, sum.kept+c.kept
	}
	return sum, errors.Join(errs...)
}

func (c *churner) churn(connections int, rate float64) error {
	begun := time.Now()
	for i := range connections {
		if i%burst == 0 {
			time.Sleep(time.Until(begun.Add(time.Duration(float64(i) / rate * 1e9))))
		}
		if err := c.open(i); err != nil {
			return err
		}
	}
	return nil
}

func (c *churner) open(i int) error {
	if i%refusedEach == 1 {
		return c.refuse()
	}
	fd, err := socket()
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, c.at); err != nil {
		return err
	}
	c.up++
	accepted, _, err := unix.Accept(c.listener)
	if err != nil || i%keptEach == 0 {
		c.kept++
		return err
	}
	return errors.Join(unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}), unix.Close(fd),
		unix.Close(accepted))
}

func (c *churner) refuse() error {
	fd, err := socket()
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, c.closed); !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("connect to a port where nobody listens: %w", err)
	}
	c.refused++
	return unix.Close(fd)
}
