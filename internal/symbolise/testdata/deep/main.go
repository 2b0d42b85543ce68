// Command deep waits in a system call at the end of a known path, until its standard input has something.
package main

import (
	"os"
	"strconv"
	"syscall"
)

type waiter interface{ wait(depth int) byte }

type pipe struct{ fd int }

//go:noinline
func (p *pipe) wait(depth int) byte {
	if depth > 0 {
		return p.wait(depth-1) + 1
	}
	var room [64]byte
	return p.read(room[:])
}

// read is inlined.
func (p *pipe) read(into []byte) byte {
	n := p.readAll(into)
	return into[n&1]
}

// readAll is inlined into read.
func (p *pipe) readAll(into []byte) int {
	n, _ := syscall.Read(p.fd, into)
	return n
}

//go:noinline
func outer(w waiter, depth int) byte { return w.wait(depth) }

func main() {
	depth, _ := strconv.Atoi(os.Args[1])
	done := make(chan byte)
	if len(os.Args) > 2 {
		go func() { done <- outer(&pipe{}, depth) }()
		os.Exit(int(<-done))
	}
	os.Exit(int(outer(&pipe{}, depth)))
}
