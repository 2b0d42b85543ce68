package loader

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
)

// The namespace is a fresh one, whose interface lo is down.
func TestBystandersListenDuringAWalkAndAreNotPartOfIt(t *testing.T) {
	p := load(t, Config{})
	p.skipsBucket = true // whatever this kernel does
	failed := make(chan error)
	var during, afterwards int
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and takes the namespace along
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			failed <- err
			return
		}
		err := p.Walk(func(e *kernel.Endpoint) error {
			t.Errorf("the walk shows %v in %v, where nobody has a socket", e.Local, e.State)
			return nil
		}, here(func(open func() error) error {
			err := open()
			during = bystandersListed()
			return err
		}))
		afterwards = bystandersListed()
		failed <- err
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if during != numBystanders || afterwards != 0 {
		t.Errorf("%d listeners stand beside the walk and %d behind it, want %d and none", during, afterwards, numBystanders)
	}
}

// here is the network namespace of the thread that calls it.
type here func(func() error) error

func (here) Inode() uint32             { return 0 }
func (h here) Do(f func() error) error { return h(f) }

// bystandersListed is how many the kernel lists in the thread's namespace, at ports of their own.
func bystandersListed() int {
	b, _ := os.ReadFile("/proc/thread-self/net/tcp")
	at := map[string]bool{}
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 3 && strings.HasPrefix(f[1], "FDFFFF7F:") && f[3] == "0A" {
			at[f[1]] = true
		}
	}
	return len(at)
}
