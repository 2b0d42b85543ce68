package lastwords

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A child is this test's program, started again with something taken away. The kernel then refuses its runtime what it needs
// before any of the program's own code has run.
const (
	confineEnv = "LASTWORDS_CONFINE" // how; the program then becomes one that does
	doEnv      = "LASTWORDS_DO"
)

func TestMain(m *testing.M) {
	confinement, confined := os.LookupEnv(confineEnv)
	do, child := os.LookupEnv(doEnv)
	switch {
	case confined:
		runtime.LockOSThread() // a filter is a thread's, and goes with it into the program that it becomes
		os.Unsetenv(confineEnv)
		if err := confine(confinement); err != nil {
			fmt.Fprintln(os.Stderr, "confine:", err)
			os.Exit(99)
		}
		fmt.Fprintln(os.Stderr, "exec:", syscall.Exec("/proc/self/exe", os.Args[:1], os.Environ()))
		os.Exit(99)
	case child:
		deeds[do]()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// deeds are what a child does, once it has started.
var deeds = map[string]func(){
	"nothing":  func() {},
	"panic":    func() { panic("out of luck") },
	"deadlock": func() { select {} },
}

// confine takes something away from the calling thread, and so from the program that it becomes.
func confine(how string) error {
	var errno uint32
	if _, err := fmt.Sscanf(how, "clone=%d", &errno); err == nil {
		return forbidClone(errno)
	}
	var bytes uint64
	if _, err := fmt.Sscanf(how, "address space=%d", &bytes); err != nil {
		return err
	}
	return syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: bytes, Max: bytes})
}

// forbidClone has clone(2) fail with an error, as limits on threads and sandboxes do.
func forbidClone(errno uint32) error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLONE, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | errno},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}

// child runs this program again and returns its exit status and what it wrote.
func child(t *testing.T, env ...string) (int, string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestARefusedRuntimeSaysOneLine(t *testing.T) {
	for confinement, want := range map[string]string{
		fmt.Sprintf("clone=%d", syscall.EAGAIN): noThread,
		fmt.Sprintf("clone=%d", syscall.EPERM):  forbiddenThread,
		fmt.Sprintf("clone=%d", syscall.ENOMEM): noMemory,
		"address space=100000000":               noMemory,
		"address space=1200000000":              noMemory,
	} {
		if code, out := child(t, confineEnv+"="+confinement, doEnv+"=nothing"); code != 1 || out != want {
			t.Errorf("%s: exit status %d, %.300q, want 1 and %q", confinement, code, out, want)
		}
	}
}

// What is no refusal is the runtime's own affair.
func TestOtherLastWordsAreTheRuntimesOwn(t *testing.T) {
	for do, wants := range map[string][]string{
		"panic":    {"panic: out of luck\n", "goroutine 1 [running]", "main.main()"},
		"deadlock": {"fatal error: all goroutines are asleep - deadlock!\n", "goroutine 1 [select (no cases)]"},
	} {
		code, out := child(t, doEnv+"="+do)
		if code != 2 {
			t.Errorf("%s: exit status %d: %s", do, code, out)
		}
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is missing in %s", do, want, out)
			}
		}
	}
	if code, out := child(t, doEnv+"=nothing"); code != 0 || out != "" {
		t.Errorf("nothing: exit status %d: %s", code, out)
	}
}
