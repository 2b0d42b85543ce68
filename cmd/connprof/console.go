package main

import (
	"os"
	"time"
)

// consoleLines is how many lines wait for a reader that does not read, and consoleEnd how long the last of them do.
const (
	consoleLines = 256
	consoleEnd   = time.Second
)

// console writes to a descriptor without waiting for whoever reads it: a run must not stand still, with all its connections
// open, because a pager has stopped reading its messages. What is too much for the reader is left out.
type console struct {
	entries    chan entry
	over, done chan struct{}
}

// entry is a text to write, or a question whether all before it is written.
type entry struct {
	text    []byte
	written chan<- struct{}
}

func newConsole(to *os.File) *console {
	c := &console{make(chan entry, consoleLines), make(chan struct{}), make(chan struct{})}
	go func() {
		defer close(c.done)
		for {
			select {
			case e := <-c.entries:
				e.write(to)
			case <-c.over:
				c.drain(to)
				return
			}
		}
	}()
	return c
}

func (e entry) write(to *os.File) {
	if e.written != nil {
		close(e.written)
		return
	}
	_, _ = to.Write(e.text) // a terminal that is gone is no reason to end
}

func (c *console) drain(to *os.File) {
	for {
		select {
		case e := <-c.entries:
			e.write(to)
		default:
			return
		}
	}
}

func (c *console) Write(text []byte) (int, error) {
	select {
	case c.entries <- entry{text: append([]byte(nil), text...)}:
	default:
	}
	return len(text), nil
}

// flush waits until all is written, as long as it is read: what comes next may go to the same terminal by another way.
func (c *console) flush() {
	written := make(chan struct{})
	select {
	case c.entries <- entry{written: written}:
	default:
		return
	}
	select {
	case <-written:
	case <-time.After(consoleEnd):
	}
}

// close writes what is left, as long as it is read.
func (c *console) close() {
	close(c.over)
	select {
	case <-c.done:
	case <-time.After(consoleEnd):
	}
}
