package kernel

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childEnv turns TestChildThatWaits into a process that the other tests look at: a virtual machine has no other program.
const childEnv = "CONNPROF_TEST_CHILD"

func TestChildThatWaits(*testing.T) {
	if os.Getenv(childEnv) == "" {
		return
	}
	fmt.Println("up")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// child is a process that waits for the end of the test.
func child(t *testing.T) (pid int) {
	t.Helper()
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
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	return cmd.Process.Pid
}

// tasks are the threads of a process, as they are listed.
func tasks(t *testing.T, pid int) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestAProcessIsDescribedWhileItLives(t *testing.T) {
	pid := child(t)
	resident, exact := ResidentBytes(pid), ExactResidentBytes(pid)
	if resident < 1<<20 || resident > 1<<30 || exact < 1<<20 || exact > 1<<30 || exact%uint64(os.Getpagesize()) != 0 {
		t.Errorf("the child has %d bytes resident, %d by its page tables", resident, exact)
	}
	before := tasks(t, pid)
	if n := Threads(pid); n < before || n > tasks(t, pid) {
		t.Errorf("the child has %d threads, and %d to %d are listed", n, before, tasks(t, pid))
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if name := Comm(pid); err != nil || name == "" || name != strings.TrimSpace(string(comm)) {
		t.Errorf("the child is named %q, not %q: %v", name, comm, err)
	}
}

func TestAProcessThatIsGoneHasNothing(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestChildThatWaits$")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	resident, exact, threads, name := ResidentBytes(pid), ExactResidentBytes(pid), Threads(pid), Comm(pid)
	if resident != 0 || exact != 0 || threads != 0 || name != "" {
		t.Errorf("%d and %d bytes, %d threads, name %q", resident, exact, threads, name)
	}
}

// What a process touches is resident, to the page by the page tables.
func TestTouchedMemoryIsResident(t *testing.T) {
	const size = 32 << 20
	before, exactBefore := ResidentBytes(os.Getpid()), ExactResidentBytes(os.Getpid())
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	grown, exactGrown := ResidentBytes(os.Getpid())-before, ExactResidentBytes(os.Getpid())-exactBefore
	if err := unix.Munmap(b); err != nil {
		t.Fatal(err)
	}
	const others = 4 << 20 // what Go's runtime takes or gives back meanwhile
	if grown < size-others || grown > size+others || exactGrown < size-others || exactGrown > size+others {
		t.Errorf("%d bytes are touched, %d more resident, %d by the page tables", size, grown, exactGrown)
	}
}

func TestThreadsAreCounted(t *testing.T) {
	const n = 50
	ended := make(chan struct{})
	defer close(ended)
	var up sync.WaitGroup
	for range n {
		up.Add(1)
		go func() {
			runtime.LockOSThread()
			up.Done()
			<-ended
		}()
	}
	up.Wait()
	listed := func() int {
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	least := listed()
	got := Threads(os.Getpid())
	if most := listed(); got < n || got < least || got > most { // Go's runtime may start one at any time
		t.Errorf("%d threads, of which %d are mine; %d were listed before, %d after", got, n, least, most)
	}
}

func TestANameMayHaveAnyBytes(t *testing.T) {
	old, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.WriteFile("/proc/self/comm", old, 0) }()
	for _, name := range []string{"a) R (b", "  x", "tab\there", strings.Repeat("n", 15)} {
		if err := os.WriteFile("/proc/self/comm", []byte(name), 0); err != nil {
			t.Fatal(err)
		}
		if n := Threads(os.Getpid()); n < 1 {
			t.Errorf("a process named %q has %d threads", name, n)
		}
	}
}

// getrusage reads the same sum by another way. It is asked first, and so may not have more.
func TestCPUTimeIsThatOfAllThreads(t *testing.T) {
	other := make(chan struct{})
	go func() {
		runtime.LockOSThread() // it ends with the goroutine, and its time stays with the process
		for used := threadCPU(t); threadCPU(t)-used < 5*time.Millisecond; {
		}
		close(other)
	}()
	<-other
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	want := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	if got := CPUTime(os.Getpid()); got < want.Truncate(time.Microsecond)-time.Microsecond || got < 5*time.Millisecond {
		t.Errorf("%v, and getrusage had %v before", got, want)
	}
	if got := CPUTime(child(t)); got == 0 {
		t.Error("another process has taken no time")
	}
	gone := exec.Command("/proc/self/exe", "-test.run=^$")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if got := CPUTime(gone.Process.Pid); got != 0 {
		t.Errorf("a process that is gone has %v", got)
	}
}

func threadCPU(t *testing.T) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Error(err)
	}
	return time.Duration(ts.Nano())
}

func TestTheStartOfTheStackIsWhatTheKernelSays(t *testing.T) {
	start := StartStack(os.Getpid())
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(maps), "\n") {
		var from, to uint64
		if strings.HasSuffix(line, "[stack]") {
			if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil || start < from || start >= to {
				t.Errorf("%#x, %v: %s", start, err, line)
			}
			return
		}
	}
	t.Error("no stack is mapped")
}

func TestAProcessThatIsGoneHasNoStack(t *testing.T) {
	if got := StartStack(1 << 30); got != 0 {
		t.Errorf("%#x", got)
	}
}
