package kernel

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestWhatAThreadDoes(t *testing.T) {
	const kill, term = 1 << 8, 1 << 14
	for _, c := range []struct {
		name, state    string
		flags, pending int
		want           thread
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
		stat := fmt.Sprintf("12 (%s) %s 1 12 12 0 -1 %d%s %d 0", c.name, c.state, c.flags, strings.Repeat(" 7", 31-9-1), c.pending)
		if got := threadFrom([]byte(stat)); got != c.want {
			t.Errorf("%s: %d, want %d", stat, got, c.want)
		}
	}
}

// What /proc gives of a thread that ends while it is read is cut short.
func FuzzThread(f *testing.F) {
	stat, err := os.ReadFile("/proc/thread-self/stat")
	if err != nil {
		f.Fatal(err)
	}
	if got := threadFrom(stat); got != threadRuns {
		f.Errorf("the test's own thread: %d", got)
	}
	f.Add(stat)
	f.Add([]byte(""))
	f.Add([]byte("1 (x)"))
	f.Fuzz(func(t *testing.T, stat []byte) {
		if got := threadFrom(stat); got < threadLives || got > threadIsDying {
			t.Errorf("%d", got)
		}
	})
}
