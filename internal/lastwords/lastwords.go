// Package lastwords is what is said where the kernel refuses the Go runtime a thread or memory. The runtime then writes a
// traceback and exits with status 2, which means usage here. A program that imports this package says one line in its place
// and exits with status 1. That holds from the first instruction on, before any initialisation: a runtime that cannot even
// start says it as well. What else the runtime writes, a panic for one, is passed on as it is.
//
// It imports nothing of the project. Nothing enters but what the runtime writes.
package lastwords

import (
	"syscall"
	"unsafe"
)

// Prefix begins the line, as it does all of the program's errors.
const Prefix = "connprof: "

const (
	noThread = Prefix + "the kernel refused a thread, resource temporarily unavailable: pids.max of the cgroup, or of one " +
		"above it, is reached, or RLIMIT_NPROC (ulimit -u), kernel.threads-max or kernel.pid_max; raise that one: a run " +
		"needs 24 threads and 3 for each CPU\n"
	forbiddenThread = Prefix + "the kernel refused a thread, operation not permitted: a seccomp filter forbids clone(2); run " +
		"outside the sandbox, or have it allow threads\n"
	noMemory = Prefix + "the kernel refused memory to the program itself: RLIMIT_AS (ulimit -v) is reached, or the memory is " +
		"used up; run: ulimit -v unlimited\n"
)

// overrideWrite is the runtime's own variable: what it writes goes through it where it is set. It has a value before the
// program's first instruction, for the linker puts it there. (runtime/time_nofake.go; go.dev/issue/67401 promises to keep it)
//
//go:linkname overrideWrite runtime.overrideWrite
var overrideWrite func(fd uintptr, p unsafe.Pointer, n int32) int32 = write

// What the runtime was in the middle of saying. It takes a lock of its own while it prints.
var (
	ofThread bool // "runtime: failed to create new OS thread (have ", 5, " already; errno=", 11, ")\n"
	ofErrno  bool
	ofFatal  bool // "fatal error: ", reason
)

// write runs wherever the runtime prints, be it without a stack that grows, a heap, or a goroutine.
//
//go:nosplit
func write(fd uintptr, p unsafe.Pointer, n int32) int32 {
	text := unsafe.String((*byte)(p), n)
	switch {
	case ofErrno:
		lastThread(text)
	case ofThread:
		ofErrno = within(text, "errno=")
		return n
	case within(text, "failed to create new OS thread"):
		ofThread = true
		return n
	case refusesMemory(text):
		last(noMemory)
	case ofFatal:
		ofFatal = false
		_ = raw(fd, "fatal error: ")
	case text == "fatal error: ":
		ofFatal = true
		return n
	}
	return raw(fd, text)
}

//go:nosplit
func lastThread(errno string) {
	switch errno {
	case "1": // EPERM
		last(forbiddenThread)
	case "12": // ENOMEM
		last(noMemory)
	}
	last(noThread)
}

// refusesMemory knows the reasons that the runtime has for it (mem_linux.go, mheap.go, malloc.go, mpagealloc_64bit.go).
//
//go:nosplit
func refusesMemory(text string) bool {
	return within(text, "out of memory") || within(text, "cannot allocate memory") ||
		within(text, "failed to reserve page summary memory")
}

//go:nosplit
func within(text, part string) bool {
	for i := 0; i+len(part) <= len(text); i++ {
		if text[i:i+len(part)] == part {
			return true
		}
	}
	return false
}

//go:nosplit
func last(line string) {
	_ = raw(2, line)
	_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 1, 0, 0)
}

//go:nosplit
func raw(fd uintptr, text string) int32 {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.StringData(text))), uintptr(len(text)))
	if errno != 0 {
		return -int32(errno)
	}
	return int32(n)
}
