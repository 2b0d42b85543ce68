package owner

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

func TestAProcessIsReadFromProc(t *testing.T) {
	r := makeProc(t, someone{pid: 200, parent: 100, comm: "a) R (b\n\x1b[31m", uid: 33, cgroups: "0::/system.slice/nginx.service\n"})
	want := Process{PID: 200, Parent: 100, Comm: "a) R (b\n\x1b[31m", UID: 33, Cgroup: "/system.slice/nginx.service"}
	if got := r.begin().process(200, "walked"); got != want {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}

func TestWithoutCgroupsTheRestIsKnown(t *testing.T) {
	r := makeProc(t, someone{pid: 200, comm: "x"})
	if err := os.Remove(filepath.Join(r.Proc, "200", "cgroup")); err != nil {
		t.Fatal(err)
	}
	if got, want := r.begin().process(200, "walked"), (Process{PID: 200, Comm: "x"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWhatProcDoesNotShowHasTheNameOfTheWalk(t *testing.T) {
	made := func(t *testing.T) Reader { return makeProc(t, someone{pid: 200, comm: "x"}) }
	for _, c := range []struct {
		name string
		pid  int
		from func(t *testing.T) Reader
		gone bool
	}{
		{"ended", 300, made, true},
		{"hidden (hidepid=invisible)", 300, func(t *testing.T) Reader {
			r := made(t)
			r.Exists = func(int) bool { return true }
			return r
		}, false},
		{"ended while it is read", 200, func(t *testing.T) Reader {
			r := made(t)
			if err := os.Remove(filepath.Join(r.Proc, "200", "status")); err != nil {
				t.Fatal(err)
			}
			return r
		}, true},
		{"another one of that number, which began later", 200, func(t *testing.T) Reader {
			return makeProc(t, someone{pid: 200, comm: "x", start: ticksSinceBoot() + 1000})
		}, true},
		{"in a /proc of another pid namespace", 200, func(t *testing.T) Reader {
			r := made(t)
			if err := os.Symlink(strconv.Itoa(os.Getpid()+1), filepath.Join(r.Proc, "self")); err != nil {
				t.Fatal(err)
			}
			return r
		}, false},
		{"no /proc at all", 200, func(t *testing.T) Reader { return Reader{Proc: filepath.Join(t.TempDir(), "none")} }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.from(t).begin().process(c.pid, "walked")
			if want := (Process{PID: c.pid, Comm: "walked", Gone: c.gone}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// With hidepid=noaccess a process is listed and may not be read. Root may read all: the refusal is made up.
func TestWhatMayNotBeReadIsNotGone(t *testing.T) {
	r := makeProc(t).begin()
	refused := &fs.PathError{Op: "open", Path: "/proc/200/stat", Err: unix.EACCES}
	if got := r.missing(Process{PID: 200, Comm: "walked"}, refused); got.Gone {
		t.Errorf("got %+v", got)
	}
	ended := &fs.PathError{Op: "read", Path: "/proc/200/stat", Err: unix.ESRCH}
	if got := r.missing(Process{PID: 200, Comm: "walked"}, ended); !got.Gone {
		t.Errorf("got %+v", got)
	}
}

func TestOfAllHierarchiesTheMostTellingPathIsTaken(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"none":      {nil, ""},
		"version 2": {[]string{"0::/system.slice/nginx.service"}, "/system.slice/nginx.service"},
		"a container in version 1, beside an empty version 2": {[]string{"12:cpu,cpuacct:/docker/" + id1, "1:name=systemd:/docker/" + id1,
			"0::/system.slice/containerd.service"}, "/docker/" + id1},
		"a unit in systemd's own":     {[]string{"4:memory:/batch", "1:name=systemd:/system.slice/a.service", "0::/"}, "/system.slice/a.service"},
		"what is not at the root":     {[]string{"9:name=systemd:/", "4:memory:/batch/7", "0::/"}, "/batch/7"},
		"the unified one of two like": {[]string{"4:memory:/b", "0::/a", "1:name=systemd:/c"}, "/a"},
		"the memory one of two like":  {[]string{"3:pids:/c", "4:memory:/b", "2:cpu:/a"}, "/b"},
		"the inner of two containers": {[]string{"4:memory:/kubepods/pod" + uid + "/" + id1, "0::/docker/" + id1}, "/kubepods/pod" + uid + "/" + id1},
		"all at the root":             {[]string{"4:memory:/", "0::/"}, "/"},
		"a colon in the path":         {[]string{"0::/a:b"}, "/a:b"},
		"above a cgroup namespace":    {[]string{"0::/../x"}, "/../x"},
		"a path of 4,000 characters":  {[]string{"0::/" + strings.Repeat("a", 4000)}, "/" + strings.Repeat("a", 4000)},
	} {
		t.Run(name, func(t *testing.T) {
			r := makeProc(t, someone{pid: 200, comm: "x", cgroups: strings.Join(c.lines, "\n") + "\n"})
			if got := r.begin().process(200, "").Cgroup; got != c.want {
				t.Errorf("%q is taken, want %q", got, c.want)
			}
		})
	}
}

// childEnv turns TestChildThatWaits into a process that a test looks at.
const childEnv = "CONNPROF_TEST_CHILD"

func TestChildThatWaits(*testing.T) {
	if os.Getenv(childEnv) == "" {
		return
	}
	fmt.Println("up")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func TestARunningProcessIsWhatItsFilesSay(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestChildThatWaits$")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	pid := cmd.Process.Pid
	got := Reader{}.begin().process(pid, "walked")
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		t.Fatal(err)
	}
	if got.Comm != strings.TrimSuffix(string(comm), "\n") || got.Parent != os.Getpid() || got.UID != uint32(os.Geteuid()) || got.Gone {
		t.Errorf("got %+v of the child %q", got, comm)
	}
	// The path is one of those that the kernel lists.
	lines, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil || !strings.Contains(string(lines), ":"+got.Cgroup+"\n") {
		t.Errorf("the cgroup is %q: %v\n%s", got.Cgroup, err, lines)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := (Reader{}).begin().process(pid, "walked"); got != (Process{PID: pid, Comm: "walked", Gone: true}) {
		t.Errorf("of a child that has ended: %+v", got)
	}
}

func BenchmarkProcess(b *testing.B) {
	pass := Reader{}.begin()
	if _, err := procfs.Self(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		pass.process(os.Getpid(), "")
	}
}
