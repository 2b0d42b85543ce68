//go:build vm

package check

import (
	"fmt"
	"time"

	"github.com/connprof/connprof/internal/kernel"
)

// Quiet tells that the test runs where nothing else does, so that the kernel's growth and what it skips are the run's own. The
// tests of the virtual machines are built with tag vm.
const Quiet = true

// Settled waits until the kernel has freed what earlier tests left, where the test runs alone. An orphan with unsent data goes when
// its timer says, and a socket's memory some time after the last list that names it; what is freed during a run makes its growth
// less. It fails where that takes minutes.
func Settled() error {
	const step, most, steady = time.Second, 3 * time.Minute, 128 << 10
	last := uint64(0)
	for end := time.Now().Add(most); ; time.Sleep(step) {
		books, errs := kernel.ReadTCPBooks()
		if len(errs) > 0 {
			return errs[0]
		}
		if last != 0 && books.SlabBytes+steady >= last && books.Alloc == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("after %v there are %d TCP sockets, and slab memory went from %d bytes to %d in the last %v", most,
				books.Alloc, last, books.SlabBytes, step)
		}
		last = books.SlabBytes
	}
}
