package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// confinements take something away from the calling thread, and so from the program it then becomes.
var confinements = map[string]func(argument string) error{
	// capability: the number of one that even root does not get at exec.
	"capability": func(argument string) error {
		bit, err := strconv.Atoi(argument)
		if err != nil {
			return err
		}
		return unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(bit), 0, 0, 0)
	},
	// files: RLIMIT_NOFILE, soft and hard.
	"files": func(argument string) error {
		n, err := strconv.ParseUint(argument, 10, 64)
		if err != nil {
			return err
		}
		return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n})
	},
	// cgroup: the directory of one to join.
	"cgroup": func(dir string) error {
		return os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(os.Getpid())), 0)
	},
	// hide: a directory that is empty, in a mount namespace that ends with the program.
	"hide": func(path string) error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return err
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		return unix.Mount("none", path, "tmpfs", 0, "")
	},
	// proc: anew, in a mount namespace that ends with the program, for a new pid namespace.
	"proc": func(path string) error {
		return errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("proc", path, "proc", 0, ""))
	},
	// readonly: a directory that cannot be written, in a mount namespace that ends with the program.
	"readonly": func(path string) error {
		return errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount(path, path, "", unix.MS_BIND, ""),
			unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	},
}

const confineEnv = "CONNPROF_TEST_CONFINE"

// confinedMain turns the process into the program named by its arguments, confined as the environment says.
func confinedMain() {
	list, ok := os.LookupEnv(confineEnv)
	if !ok {
		return
	}
	runtime.LockOSThread() // capabilities and mount namespaces are a thread's
	os.Unsetenv(confineEnv)
	for _, c := range strings.Fields(list) {
		name, argument, _ := strings.Cut(c, "=")
		if err := confinements[name](argument); err != nil {
			fmt.Fprintf(os.Stderr, "confine %s: %v\n", c, err)
			os.Exit(99)
		}
	}
	err := syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
	fmt.Fprintf(os.Stderr, "exec %v: %v\n", os.Args[1:], err)
	os.Exit(99)
}

// confined is a child with something taken away, such as "files=1024".
func confined(t testing.TB, confinement string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := command(t, args...)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Args = self, append([]string{self, program}, args...)
	cmd.Env = append(cmd.Env, confineEnv+"="+confinement)
	return cmd
}

// nobody is a user without any capability.
const nobody = 65534

// asNobody is a child without root. Its directory is its own.
func asNobody(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := command(t, args...)
	openDir(t, cmd.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// openDir gives a directory of the test's to nobody.
func openDir(t testing.TB, dir string) {
	t.Helper()
	parent := dir[:strings.LastIndex(dir, "/")] // t.TempDir makes one a test and in it one a call, both private
	for _, d := range []string{parent, dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
}
