package live

import (
	"fmt"
	"os"
	"testing"
)

func TestWhatAThreadDoes(t *testing.T) {
	const kill, term = 1 << 8, 1 << 14
	for _, c := range []struct {
		name, state string
		flags       int
		pending     uint64
		want        thread
	}{
		{"worker", "S", 0x400040, 0, threadLives},
		{"worker", "D", 0x400040, 0, threadLives}, // as one that executes a program and waits for the others' end
		{"worker", "t", 0x400040, term, threadLives},
		{"worker", "R", 0x400040, 0, threadRuns},
		{"worker", "R", 0x400044, 0, threadIsDying},
		{"worker", "S", 0x400040, kill, threadIsDying},
		{"worker", "Z", 0x400040, 0, threadIsDying},
		{"a) Z 1 (b", "S", 0x400040, 0, threadLives},
		{"a) R 1 1 1 1 1 4 (b", "S", 0x400040, 0, threadLives},
	} {
		stat := fmt.Sprintf("12 (%s) %s 1 12 12 0 -1 %d 0 0", c.name, c.state, c.flags)
		status := fmt.Sprintf("Name:\t%s\nSigQ:\t0/1\nSigPnd:\t%016x\nShdPnd:\t%016x\n", c.name, c.pending, uint64(kill))
		if got := threadFrom(stat, status); got != c.want {
			t.Errorf("%s %s: %d, want %d", stat, status, got, c.want)
		}
	}
}

// What /proc gives of a thread that ends while it is read is cut short.
func FuzzThread(f *testing.F) {
	stat, err := os.ReadFile("/proc/thread-self/stat")
	status, err2 := os.ReadFile("/proc/thread-self/status")
	if err != nil || err2 != nil {
		f.Fatal(err, err2)
	}
	if got := threadFrom(string(stat), string(status)); got != threadRuns {
		f.Errorf("the test's own thread: %d", got)
	}
	f.Add(string(stat), string(status))
	f.Add("", "")
	f.Add("1 (x)", "SigPnd:")
	f.Fuzz(func(t *testing.T, stat, status string) {
		if got := threadFrom(stat, status); got < threadLives || got > threadIsDying {
			t.Errorf("%d", got)
		}
	})
}
