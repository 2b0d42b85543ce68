//go:build vm

package check

// Quiet tells that the test runs where nothing else does, so that the kernel's growth and what it skips are the run's own. The
// tests of the virtual machines are built with tag vm.
const Quiet = true
