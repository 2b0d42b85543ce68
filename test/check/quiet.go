//go:build !vm

package check

// Quiet tells that the test runs where nothing else does, so that the kernel's growth and what it skips are the run's own. A
// host is not quiet.
const Quiet = false

// Settled waits for nothing on a host, where others' memory comes and goes all the time: nothing is asserted of it there.
func Settled() error { return nil }
