// Command cgo waits in a system call that C makes for Go, or with an argument in one of Go that C has called for.
package main

/*
#include <unistd.h>
static int in_c(int fd) { char into; return (int)read(fd, &into, 1) + 1; }
extern int backInGo(int fd);
static int through_c(int fd) { return backInGo(fd) + 1; }
*/
import "C"

import (
	"os"
	"syscall"
)

//export backInGo
func backInGo(fd C.int) C.int {
	var room [1]byte
	n, _ := syscall.Read(int(fd), room[:])
	return C.int(n)
}

//go:noinline
func outer(back bool) int {
	if back {
		return int(C.through_c(0)) + 1
	}
	return int(C.in_c(0)) + 1
}

func main() { os.Exit(outer(len(os.Args) > 1)) }
