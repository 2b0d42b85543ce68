// Command execs opens connections, keeps them, and becomes another program, which is at the same addresses.
//
//	execs PORT OPENS PROGRAM ARG...
package main

import (
	"fmt"
	"net"
	"os"
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

func main() {
	if len(os.Args) < 4 {
		fail(fmt.Errorf("usage: execs PORT OPENS PROGRAM ARG..."))
	}
	opens, err := strconv.Atoi(os.Args[2])
	if err != nil {
		fail(err)
	}
	for range opens {
		if err := openAsItself(os.Args[1]); err != nil {
			fail(err)
		}
	}
	fail(syscall.Exec(os.Args[3], os.Args[3:], os.Environ())) // the connections are closed on it
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "execs:", err)
	os.Exit(1)
}
