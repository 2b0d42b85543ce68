package check

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// OnThreadOfItsOwn runs f on a thread that ends with it, and closes the files of its own table. The process's first thread does not end
// with its goroutine, and its table is the one that others see.
func OnThreadOfItsOwn(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return // locked: the thread ends
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		OnThreadOfItsOwn(f)
	}()
	<-done // so long this one cannot be taken
	runtime.UnlockOSThread()
}
