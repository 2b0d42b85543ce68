package kernel

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// shell is a shell that waits for its input to end.
func shell(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "echo up; read line")
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if errIn != nil || errOut != nil {
		t.Fatal(errIn, errOut)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestAProcessIsDescribedWhileItLives(t *testing.T) {
	pid := shell(t).Process.Pid
	resident, exact := ResidentBytes(pid), ExactResidentBytes(pid)
	if resident < 100<<10 || resident > 100<<20 || exact < 100<<10 || exact > 100<<20 || exact%uint64(os.Getpagesize()) != 0 {
		t.Errorf("a shell has %d bytes resident, %d by its page tables", resident, exact)
	}
	if n := Threads(pid); n != 1 {
		t.Errorf("a shell has %d threads", n)
	}
	if name := Comm(pid); name != "sh" {
		t.Errorf("a shell is named %q", name)
	}
}

func TestAProcessThatIsGoneHasNothing(t *testing.T) {
	cmd := exec.Command("/bin/true")
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
