// Command execs opens connections, keeps them, and becomes another program, which is at the same addresses. A thread calls for that:
// the first one, or another one, for which the kernel ends the first one first.
//
//	execs first|other PORT OPENS PROGRAM ARG...
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
)

var kept []net.Conn

//go:noinline
func openAsItself(port string) error {
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	kept = append(kept, c)
	return err
}

func init() { runtime.LockOSThread() } // main is the first thread's, and no other goroutine is

func main() {
	if len(os.Args) < 5 {
		fail(errors.New("usage: execs first|other PORT OPENS PROGRAM ARG..."))
	}
	opens, err := strconv.Atoi(os.Args[3])
	if err != nil {
		fail(err)
	}
	for range opens {
		if err := openAsItself(os.Args[2]); err != nil {
			fail(err)
		}
	}
	become := func() { fail(syscall.Exec(os.Args[4], os.Args[4:], os.Environ())) } // the connections are closed on it
	if os.Args[1] == "other" {
		go become()
		select {}
	}
	become()
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "execs:", err)
	os.Exit(1)
}
