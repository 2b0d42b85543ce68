package vm

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

const (
	// digestLines is how much of a failure is told once more, digestFailures for how many of them: a CI's page shows the end of
	// what was printed, and the failures of a matrix stand in the middle of thousands of lines.
	digestLines    = 6
	digestFailures = 8
)

// digest keeps what failed, to say it once more at the end. Its methods may be called from several tests at once.
type digest struct {
	mu       sync.Mutex
	failures []failure
}

type failure struct{ where, text string }

func (d *digest) add(where, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failures = append(d.failures, failure{where, text})
}

// print writes the failures with the first lines of each, and nothing if there is none.
func (d *digest) print(w io.Writer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, f := range d.failures {
		if i == digestFailures {
			fmt.Fprintf(w, "and %d more failures above\n", len(d.failures)-i)
			return
		}
		fmt.Fprintf(w, "FAILED: %s\n", f.where)
		lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(f.text), "\n"), ofTheRunner)
		for _, line := range lines[:min(len(lines), digestLines)] {
			fmt.Fprintf(w, "    %s\n", strings.TrimSpace(line))
		}
		if more := len(lines) - digestLines; more > 0 {
			fmt.Fprintf(w, "    ... %d more lines above\n", more)
		}
	}
}

// ofTheRunner tells whether a line is the test runner's own: which test begins or goes on.
func ofTheRunner(line string) bool { return strings.HasPrefix(strings.TrimSpace(line), "=== ") }

// innermost tells whether a failed test is the one that says why: none of its subtests failed.
func innermost(name string, failed []string) bool {
	for _, other := range failed {
		if strings.HasPrefix(other, name+"/") {
			return false
		}
	}
	return true
}
